"""Distribution matching against direct computation, in double precision with a tiny network."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dsetpack.decoders import decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.spaces import Raw
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.objectives import dm
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import BatchMeans, NetworkPool, RealMeans
from dsetpack.trainers.parameterizations.images import Images
from dsetpack.trainers.parameterizations.kfs import Kfs
from tests.support.dm_cases import CLASSES, IMAGE, TinyNet, context, images, pool


class TinyMeans:
    """Stands in for ``RealMeans``: one network, random real means."""

    classes = CLASSES
    follows = False

    def __init__(self) -> None:
        self.pool = self
        self.real = torch.randn(CLASSES, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def build(self, number: int, device: object) -> TinyNet:
        return TinyNet()

    def __call__(self, number: int, net: object, synthetic: Tensor) -> Tensor:
        return self.real

    def augmenter(self, number: int) -> Callable[[Tensor], Tensor]:
        return lambda x: x


def synthetic(codes: int = 2, decoders: int = 2) -> Kfs:
    torch.manual_seed(0)
    bank = decoder("kfs", KfsConfig(decoders=decoders, channels=(2, 2)), IMAGE, CLASSES)
    made = Kfs(20 * torch.randn(codes * CLASSES, 2, 2, 2), torch.arange(CLASSES).repeat_interleave(codes), bank, Raw())
    return made.double()


def gradient(made: Kfs, work: Callable[[], object]) -> Tensor:
    made.zero_grad()
    work()
    return torch.cat([p.grad.flatten() for p in made.parameters()])


def full_gradient(made: Kfs, **options: object) -> Tensor:
    objective = DistributionMatching(TinyMeans(), **options)
    return gradient(made, lambda: objective.backward(made, 0, torch.Generator().manual_seed(0)))


def class_embeddings(made: Kfs, pair_ids: Tensor | None = None) -> list[Tensor]:
    features = TinyNet().embed(made.images(pair_ids))
    labels = made.labels if pair_ids is None else made.labels[pair_ids]
    return [features[labels == c] for c in range(CLASSES)]


def test_loss_is_equation_1():
    made, means = synthetic(), TinyMeans()
    loss = DistributionMatching(means).backward(made, 0, torch.Generator())["matching"]
    expected = sum(
        0.5 * (means.real[c] - e.mean(0)).square().sum().item() for c, e in enumerate(class_embeddings(made))
    )
    assert loss.item() == pytest.approx(expected / CLASSES, rel=1e-12)


def test_pieces_give_the_full_gradient():
    made = synthetic(codes=3)
    expected = full_gradient(made)
    assert expected.abs().max() > 1e-4
    for chunk in (1, 4, 5, 100):
        assert torch.allclose(full_gradient(made, chunk=chunk), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("most", [1, 5, 6, 11])
def test_some_classes_at_a_time_give_the_full_gradient(monkeypatch, most):
    made = synthetic(codes=3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    made.codes.data, made.labels = made.codes.data[order], made.labels[::2][order].repeat_interleave(2)
    expected = full_gradient(made)
    monkeypatch.setattr(dm, "TOGETHER", {"cpu": most})
    sizes, embed = [], TinyNet.embed
    monkeypatch.setattr(TinyNet, "embed", lambda self, x: sizes.append(len(x)) or embed(self, x))
    assert torch.allclose(full_gradient(made), expected, rtol=1e-10, atol=1e-14)
    assert sizes == [6, 6]
    loss = DistributionMatching(TinyMeans()).backward(made, 0, torch.Generator())["matching"]
    monkeypatch.setattr(dm, "TOGETHER", {})
    assert torch.allclose(DistributionMatching(TinyMeans()).backward(made, 0, torch.Generator())["matching"], loss)
    assert sizes[-1] == 12


def test_classes_that_go_together():
    labels = torch.tensor([4, 0, 0, 2, 4, 4, 0, 5])  # none of classes 1 and 3
    groups = [([*rows], classes) for rows, classes in dm.by_class(labels, 4)]
    assert groups == [([1, 2, 6, 3], [0, 2]), ([0, 4, 5, 7], [4, 5])]
    assert [classes for _, classes in dm.by_class(labels, 1)] == [[0], [2], [4], [5]]
    assert [classes for _, classes in dm.by_class(labels, 100)] == [[0, 2, 4, 5]]


def test_what_depends_on_the_whole_batch_sees_it(monkeypatch):
    """Batch norm needs the whole batch; so does ``drop``, which leaves out real images near the synthetic means."""
    monkeypatch.setattr(dm, "TOGETHER", {"cpu": 1})
    monkeypatch.setattr(DistributionMatching, "_by_class", None)  # any use would fail
    data = images()
    itself = Images(data.raw(), data.labels, Raw(), CLASSES)
    mixing = NetworkPool("resnet10", 2, 1, 0, IMAGE, CLASSES)
    for means in (BatchMeans(mixing, context(data), 5), BatchMeans(pool(), context(data), 5, drop=0.2)):
        DistributionMatching(means).backward(itself, 0, torch.Generator())
    with pytest.raises(TypeError):
        DistributionMatching(BatchMeans(pool(), context(data), 5)).backward(itself, 0, torch.Generator())


def test_partial_backward_is_unbiased(monkeypatch):
    """The mean over every possible draw of 2 of the 4 pairs of each class is the full gradient."""
    made = synthetic()
    expected = full_gradient(made)
    subsets = list(itertools.combinations(range(4), 2))
    total, each = torch.zeros_like(expected), []
    for first, second in itertools.product(subsets, subsets):
        drawn = torch.tensor([*first, *(4 + p for p in second)]), torch.full((4,), 0.5, dtype=torch.float64)
        monkeypatch.setattr(dm, "draw_share", lambda *_, drawn=drawn: drawn)
        each.append(full_gradient(made, share=0.5))
        total += each[-1]
    assert torch.allclose(total / len(subsets) ** 2, expected, rtol=1e-10, atol=1e-14)
    assert (each[0] - expected).abs().max() > 1e-5  # a single draw is not exact


def test_naive_subsampling_has_the_bias_of_equation_2():
    """E[gradient of the loss on one random pair per class] - full gradient = gradient of Eq. 2."""
    made, means = synthetic(), TinyMeans()
    expected = full_gradient(made)

    def naive(pair_ids: Tensor) -> None:
        features = TinyNet().embed(made.images(pair_ids))
        dm.matching_loss(dm.class_mean(features, made.labels[pair_ids], CLASSES), means.real).backward()

    draws = [torch.tensor([a, 4 + b]) for a, b in itertools.product(range(4), range(4))]
    average = sum(gradient(made, lambda pair_ids=pair_ids: naive(pair_ids)) for pair_ids in draws) / len(draws)

    def equation_2() -> None:
        terms = [0.5 * ((e @ e.T).diagonal().mean() - (e @ e.T).mean()) for e in class_embeddings(made)]
        (sum(terms) / CLASSES).backward()

    bias = gradient(made, equation_2)
    assert bias.norm() > 0.1 * expected.norm()  # the bias is not negligible
    assert torch.allclose(average - expected, bias, rtol=1e-9, atol=1e-13)


def test_draws_are_balanced_and_uniform():
    labels = torch.tensor([0] * 4 + [1] * 6)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(10)
    for _ in range(2000):
        chosen, weight = dm.draw_share(labels, 0.5, generator)
        assert torch.bincount(labels[chosen]).tolist() == [2, 3]
        assert len(set(chosen.tolist())) == 5
        assert torch.zeros(2, dtype=torch.float64).index_add(0, labels[chosen], weight).tolist() == [1, 1]
        counts[chosen] += 1
    assert (counts / 2000 - 0.5).abs().max() < 0.05
    assert dm.draw_share(labels, 1.0, generator)[0].tolist() == list(range(10))
    assert dm.draw_share(labels, 0.01, generator)[0].shape == (2,)


def test_bad_arguments():
    with pytest.raises(FormatError, match="share is 0"):
        DistributionMatching(TinyMeans(), share=0)
    lonely = ImageData(images().images[:1], torch.tensor([0]), ("a", "b"), "one")
    with pytest.raises(FormatError, match="one has no image of class 'b'"):
        RealMeans(pool(), lonely, Raw()).prepare()


def test_more_processes_than_classes(monkeypatch):
    """A process without a class adds nothing; the others add up to the whole."""
    alone, together = synthetic(), synthetic()
    expected = DistributionMatching(TinyMeans()).backward(alone, 0, torch.Generator())["matching"]
    monkeypatch.setattr("dsetpack.trainers.parallel.world", lambda: CLASSES + 1)
    found = torch.zeros((), dtype=torch.float64)
    for rank in range(CLASSES + 1):
        monkeypatch.setattr("dsetpack.trainers.parallel.rank", lambda rank=rank: rank)
        found = found + DistributionMatching(TinyMeans()).backward(together, 0, torch.Generator())["matching"]
    assert torch.allclose(found, expected)
    assert torch.allclose(together.codes.grad, alone.codes.grad)

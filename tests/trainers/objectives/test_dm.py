"""Distribution matching against direct computation, in double precision with a tiny network."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dsetpack.decoders import decoder
from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.arithmetic import precision
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.trainers.objectives import dm
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import BatchMeans, NetworkPool, RealMeans, class_means
from dsetpack.trainers.parameterizations.images import Images
from dsetpack.trainers.parameterizations.kfs import Kfs
from dsetpack.training.augment import Dsa

IMAGE, CLASSES = (1, 8, 8), 2
UNUSED = torch.zeros(CLASSES, 1)


def images(per_class: int = 7, classes: int = CLASSES, seed: int = 0) -> ImageData:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (per_class * classes, *IMAGE), generator=g, dtype=torch.uint8)
    y = torch.arange(per_class * classes) % classes
    return ImageData(x, y, tuple("abcdefgh"[:classes]), "noise")


class TinyNet(nn.Module):
    """A network small enough for double precision and many gradients."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(5, 64, generator=generator, dtype=torch.float64)

    def embed(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.weight.T)


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


def class_embeddings(made: Kfs, pairs: Tensor | None = None) -> list[Tensor]:
    features = TinyNet().embed(made.images(pairs))
    labels = made.labels if pairs is None else made.labels[pairs]
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
    """Batch norm, and a real side that leaves out what the synthetic one has."""
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
    """E[gradient of the loss on one random pair a class] - full gradient = gradient of Eq. 2."""
    made, means = synthetic(), TinyMeans()
    expected = full_gradient(made)

    def naive(pairs: Tensor) -> None:
        features = TinyNet().embed(made.images(pairs))
        dm.matching_loss(dm.class_mean(features, made.labels[pairs], CLASSES), means.real).backward()

    draws = [torch.tensor([a, 4 + b]) for a, b in itertools.product(range(4), range(4))]
    average = sum(gradient(made, lambda pairs=pairs: naive(pairs)) for pairs in draws) / len(draws)

    def equation_2() -> None:
        terms = [0.5 * ((e @ e.T).diagonal().mean() - (e @ e.T).mean()) for e in class_embeddings(made)]
        (sum(terms) / CLASSES).backward()

    bias = gradient(made, equation_2)
    assert bias.norm() > 0.1 * expected.norm()  # it matters
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


def pool(count: int = 3, width: int = 4, seed: int = 0) -> NetworkPool:
    return NetworkPool("convnet3", width, count, seed, IMAGE, CLASSES)


def direct_means(data: ImageData, networks: NetworkPool, space: Normalized, number: int) -> np.ndarray:
    net = networks.build(number, "cpu").double()
    x = space.apply(data.images.double() / 255)
    features = net.embed(x).numpy()
    return np.stack([features[data.labels.numpy() == c].mean(0) for c in range(CLASSES)])


def test_cached_means_equal_direct_ones(tmp_path):
    data = images()
    space, networks = Normalized.fit(data.images), pool()
    RealMeans(networks, data, space, tmp_path).prepare()
    again = RealMeans(networks, data, space, tmp_path)
    again._compute = None  # whatever is asked for must come from the disk
    for number in range(3):
        found = again(number, networks.build(number, "cpu"), UNUSED)
        assert np.allclose(found.numpy(), direct_means(data, networks, space, number), rtol=1e-4, atol=1e-6)
    assert torch.equal(again(4, networks.build(4, "cpu"), UNUSED), again(1, networks.build(1, "cpu"), UNUSED))


def test_class_means_do_not_depend_on_the_batch():
    data = images(per_class=9)
    net = TinyNet()
    means = [class_means(net.embed, data.take(torch.arange(len(data))), Doubled(), batch) for batch in (1, 5, 100)]
    assert torch.equal(means[0], means[1])
    assert torch.equal(means[0], means[2])


class Doubled(Raw):
    def apply(self, x: Tensor) -> Tensor:
        return x.double()


def test_means_go_on_where_they_stopped(tmp_path, monkeypatch):
    data, networks = images(), pool()
    means = RealMeans(networks, data, Raw(), tmp_path)
    calls = []
    compute = RealMeans._compute

    def counted(self, number, net):
        if len(calls) == 2 and number == 2:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append(number)
        return compute(self, number, net)

    monkeypatch.setattr(RealMeans, "_compute", counted)
    with pytest.raises(KeyboardInterrupt):
        means.prepare()
    means.prepare()
    assert calls == [0, 1, "stop", 2]
    stored = sorted(means.folder.rglob("*.npy"))
    assert len(stored) == 3
    stored[0].write_bytes(stored[0].read_bytes()[:40])  # damaged: computed again
    means.prepare()
    assert calls == [0, 1, "stop", 2, 0]


def test_cache_keys_tell_everything_apart():
    data = images()
    swapped = ImageData(data.images, 1 - data.labels, data.classes, "other name")
    keys = {
        RealMeans(networks, real, space).key()
        for networks, real, space in [
            (pool(), data, Raw()),
            (pool(), swapped, Raw()),
            (pool(), images(seed=1), Raw()),
            (pool(), data, Normalized.fit(data.images)),
            (pool(width=5), data, Raw()),
            (pool(seed=1), data, Raw()),
        ]
    }
    assert len(keys) == 6
    renamed = ImageData(data.images, data.labels, data.classes, "another name")
    assert RealMeans(pool(count=9), renamed, Raw()).key() == RealMeans(pool(), data, Raw()).key()
    with precision("bf16", torch.device("cpu")):
        assert RealMeans(pool(), data, Raw()).key() not in keys
    with precision("tf32", torch.device("cpu")):  # of which a CPU has none
        assert RealMeans(pool(), data, Raw()).key() in keys


def context(data: ImageData, augment: Dsa | None = None) -> Context:
    return Context(data, Raw(), 1, 0, Path("unused"), lambda phase: Run(), augment)


def test_one_augmentation_for_both_sides(tmp_path):
    """The real images themselves as the synthetic set: the loss is zero only under the same draw."""
    data, augment = images(), Dsa(Augmentation(ops=("color", "crop", "cutout", "scale", "rotate")))
    itself = Images(data.raw(), data.labels, Raw(), CLASSES)
    for means in (
        RealMeans(pool(), data, Raw(), tmp_path, augment),
        BatchMeans(pool(), context(data, augment), 100),
    ):
        losses = [DistributionMatching(means).backward(itself, step, torch.Generator()) for step in range(3)]
        assert max(float(loss["matching"]) for loss in losses) < 1e-10
    alone = RealMeans(pool(), data, Raw(), tmp_path)
    alone.prepare()
    alone.augmenter = means.augmenter  # of the synthetic side only: the means are on the disk
    assert float(DistributionMatching(alone).backward(itself, 0, torch.Generator())["matching"]) > 1e-4


def test_random_real_batches_and_their_crucial_part():
    data, networks = images(per_class=20), pool()
    net = networks.build(0, "cpu")
    features = net.embed(data.raw())
    whole = BatchMeans(networks, context(data), 100)(0, net, UNUSED)
    assert torch.allclose(whole, RealMeans(networks, data, Raw())(0, net, UNUSED), atol=1e-5)
    batch = BatchMeans(networks, context(data), 5)
    assert torch.equal(batch(0, net, UNUSED), batch(0, net, UNUSED))
    assert not torch.equal(batch(0, net, UNUSED), batch(3, net, UNUSED))  # the same network, other images
    centre = torch.randn(CLASSES, features.shape[1], generator=torch.Generator().manual_seed(0))
    found = BatchMeans(networks, context(data), 100, drop=0.2)(0, net, centre)
    for c in range(CLASSES):
        mine = features[data.labels == c]
        far = (mine - centre[c]).square().sum(1).argsort()[4:]  # 4 of 20 are dropped, the nearest
        assert torch.allclose(found[c], mine[far].mean(0), atol=1e-5)
    with pytest.raises(ValueError, match="set 'real_batch'"):
        dm.DmSettings(drop=0.2)


def test_networks_of_a_pool_differ_and_repeat():
    networks = pool()
    weights = [networks.build(n, "cpu").head.weight for n in range(4)]
    assert torch.equal(weights[0], weights[3])
    assert not torch.equal(weights[0], weights[1])
    assert not any(p.requires_grad for p in networks.build(0, "cpu").parameters())


def test_bad_arguments():
    with pytest.raises(FormatError, match="share is 0"):
        DistributionMatching(TinyMeans(), share=0)
    lonely = ImageData(images().images[:1], torch.tensor([0]), ("a", "b"), "one")
    with pytest.raises(FormatError, match="one has no image of class 'b'"):
        RealMeans(pool(), lonely, Raw()).prepare()


def test_more_processes_than_classes(monkeypatch):
    """A process without a class adds nothing; those with one add up to all."""
    alone, together = synthetic(), synthetic()
    expected = DistributionMatching(TinyMeans()).backward(alone, 0, torch.Generator())["matching"]
    monkeypatch.setattr("dsetpack.trainers.parallel.world", lambda: CLASSES + 1)
    found = torch.zeros((), dtype=torch.float64)
    for rank in range(CLASSES + 1):
        monkeypatch.setattr("dsetpack.trainers.parallel.rank", lambda rank=rank: rank)
        found = found + DistributionMatching(TinyMeans()).backward(together, 0, torch.Generator())["matching"]
    assert torch.allclose(found, expected)
    assert torch.allclose(together.codes.grad, alone.codes.grad)

"""HaBa: equations against direct sums, the min-max game, budgets, variants, resume."""

import math
import os
import signal
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw, Space
from dsetpack.trainers import parallel
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives.adversary import (
    Adversarial,
    AdversarySettings,
    contrastive_loss,
    cosine_term,
    hallucinated,
)
from dsetpack.trainers.objectives.base import Distillation, Objective
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import NetworkPool, RealMeans
from dsetpack.trainers.parameterizations import haba
from dsetpack.trainers.parameterizations.haba import Haba, Settings
from dsetpack.trainers.parameterizations.images import Images

CIFAR, IMAGE = (3, 32, 32), (3, 8, 8)
BASES = 3


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(per_class: int = 20, classes: int = 2, image: tuple[int, int, int] = IMAGE) -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 120, (per_class * classes, *image), generator=g, dtype=torch.uint8)
    y = torch.arange(len(x)) % classes
    for n, label in enumerate(y):
        x[n, :, :, 4 * int(label) : 4 * int(label) + 4] += 120
    return ImageData(x, y, tuple("abc"[:classes]), "noise")


def context(
    tmp_path, data: ImageData | None = None, seed: int = 0, ipc: int = 20, space: Space | None = None
) -> Context:
    data = data or images()
    return Context(data, space or Normalized.fit(data.images), ipc, seed, tmp_path, lambda phase: Run(name=phase))


def built(tmp_path, seed: int = 0, data: ImageData | None = None, **settings: Any) -> Haba:
    options = {"hallucinators": 3, "sources": BASES, "lr_bases": 1.0, "lr_hallucinators": 0.1} | settings
    return Settings(**options).build(context(tmp_path, data, seed))


def small_adversary(image: tuple[int, int, int] = IMAGE, seed: int = 5, width: int = 6):
    return network("convnet3", image, 2, width, seed=seed)


class Nothing(Objective):
    """An inner objective that pulls nowhere."""

    def backward(self, synthetic, step, generator):
        return {"nothing": torch.zeros(())}


def game(synthetic: Haba, net: Any = None, inner: Objective | None = None, **settings: Any) -> Adversarial:
    return Adversarial(inner or Nothing(), AdversarySettings(**settings), None, synthetic, net or small_adversary())


# --- equations


def features(several: int = 3, bases: int = 5, size: int = 4) -> Tensor:
    return torch.randn(several, bases, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def dot(a: Tensor, b: Tensor) -> float:
    return math.fsum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


@pytest.mark.parametrize("several", [2, 3])
def test_equation_5_is_the_direct_sum(several):
    f, total = features(several), 0.0
    for j in range(several):
        for k in range(several):
            for i in range(5):
                if j != k:
                    norms = math.sqrt(dot(f[j, i], f[j, i])) * math.sqrt(dot(f[k, i], f[k, i]))
                    total += dot(f[j, i], f[k, i]) / norms
    assert cosine_term(f).item() == pytest.approx(total / several**2 / 5, rel=1e-12)
    mean = total / (several * (several - 1)) / 5
    assert cosine_term(f, "released").item() == pytest.approx((mean + 1) / 2, rel=1e-12)


def test_for_two_hallucinators_paper_and_release_pull_the_set_alike():
    f = features(2).requires_grad_()
    paper, released = cosine_term(f), cosine_term(f, "released")
    assert released.item() == pytest.approx(paper.item() + 0.5, rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(released, f), torch.autograd.grad(paper, f))


@pytest.mark.parametrize("temperature", [0.07, 1.3])
@pytest.mark.parametrize("several", [2, 3])
@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2, 0]], ids=["own basis", "own class"])
def test_equation_3_is_the_direct_sum(labels, several, temperature):
    f, total = features(several), 0.0
    for j in range(several):
        for k in range(several):
            if j == k:
                continue
            for i in range(5):
                scores = [dot(f[j, i], f[k, u]) / temperature for u in range(5)]
                top = max(scores)
                whole = top + math.log(math.fsum(math.exp(s - top) for s in scores))
                positives = [u for u in range(5) if u == i or (labels and labels[u] == labels[i])]
                total += math.fsum(scores[u] - whole for u in positives) / len(positives)
    expected = -total / several**2 / 5
    found = contrastive_loss(f, None if labels is None else torch.tensor(labels), temperature)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2, 0]])
def test_the_released_contrast_is_supcon(labels):
    """Anchors, positives and others are all views but the anchor itself."""
    f, total = F.normalize(features(2), dim=-1), 0.0
    views = [(i, f[j, i]) for j in range(2) for i in range(5)]
    for a, (i, anchor) in enumerate(views):
        others = [(u, dot(anchor, v) / 0.07) for b, (u, v) in enumerate(views) if b != a]
        whole = math.log(math.fsum(math.exp(s) for _, s in others))
        logs = [s - whole for u, s in others if u == i or (labels and labels[u] == labels[i])]
        total -= math.fsum(logs) / len(logs) / len(views)
    found = contrastive_loss(f, None if labels is None else torch.tensor(labels), 0.07, "released")
    assert found.item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_gradients_of_both_terms(form):
    f, labels = features(2).requires_grad_(), torch.tensor([0, 1, 0, 2, 0])
    assert torch.autograd.gradcheck(lambda x: cosine_term(x, form), f)
    assert torch.autograd.gradcheck(lambda x: contrastive_loss(x, labels, 0.5, form), f)
    assert torch.isfinite(torch.autograd.grad(contrastive_loss(1000 * f, labels, 0.07, form), f)[0]).all()


# --- the game


def alike(made: Haba, net: Any, numbers: tuple[Tensor, Tensor]) -> float:
    """Eq. 5 of the set as it is."""
    with torch.no_grad():
        views = torch.stack([net.embed(made.images(pairs)) for pairs in numbers])
        return cosine_term(views).item()


def step_along(parameters: list[Tensor], size: float) -> None:
    with torch.no_grad():
        for p in parameters:
            if p.grad is not None:
                p -= size * p.grad


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"form": "released", "weight_ce": 0, "weight_contrast": 0}, 1e-2),
        ({"form": "released", "weight_ce": 0}, 1e-3),
        ({"form": "paper", "weight_ce": 0}, 1e-3),
        ({"form": "paper", "weight_ce": 0, "supervised": False}, 1e-3),
    ],
    ids=str,
)
def test_set_and_adversary_move_the_shared_term_in_opposite_directions(tmp_path, options, size):
    made, net = built(tmp_path, hallucinators=2).double(), small_adversary().double()
    played = game(made, net, **options)
    numbers = made.two(torch.Generator().manual_seed(0))
    start = alike(made, net, numbers)
    played.backward(made, 0, torch.Generator().manual_seed(0))

    kept = [p.detach().clone() for p in made.parameters()]
    step_along(list(made.parameters()), size)
    assert alike(made, net, numbers) < start
    with torch.no_grad():
        for p, old in zip(made.parameters(), kept, strict=True):
            p.copy_(old)
    step_along(list(net.parameters()), size)
    assert alike(made, net, numbers) > start


def test_the_sets_gradient_is_that_of_the_weighted_cosine_alone(tmp_path):
    made, net = built(tmp_path).double(), small_adversary().double()
    terms = game(made, net).backward(made, 0, torch.Generator().manual_seed(3))
    numbers = made.two(torch.Generator().manual_seed(3))
    loss = 0.1 * cosine_term(torch.stack([net.embed(made.images(pairs)) for pairs in numbers]))
    expected = torch.autograd.grad(loss, list(made.parameters()))
    for p, gradient in zip(made.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-9, atol=1e-12)
    assert terms["cosine"].item() == pytest.approx(loss.item(), rel=1e-12)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_the_adversarys_gradient_is_that_of_equation_4(tmp_path, form):
    made, net = built(tmp_path).double(), small_adversary().double()
    options = {"weight_contrast": 0.3, "weight_ce": 0.7, "weight_cos": 0.2, "temperature": 0.5, "form": form}
    terms = game(made, net, **options).backward(made, 0, torch.Generator().manual_seed(3))
    numbers = made.two(torch.Generator().manual_seed(3))
    labels = made.labels[numbers[0]]
    with torch.no_grad():
        seen = [made.images(pairs) for pairs in numbers]
    views = torch.stack([net.embed(x) for x in seen])
    loss = 0.3 * contrastive_loss(F.normalize(views, dim=2), labels, 0.5, form)
    loss = loss + 0.7 * sum(F.cross_entropy(net(x), labels) for x in seen) / 2
    if form == "released":
        loss = loss + 0.2 * (1 - F.cosine_similarity(*views)).mean() / 2
    expected = torch.autograd.grad(loss, list(net.parameters()))
    for p, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-9, atol=1e-12)
    assert terms["adversary"].item() == pytest.approx(loss.item(), rel=1e-12)


def test_neither_players_gradient_leaks_into_the_other(tmp_path):
    inner = matching(images())
    plain = built(tmp_path)
    inner.backward(plain, 0, torch.Generator().manual_seed(0))
    made, net = built(tmp_path), small_adversary()
    terms = game(made, net, inner, weight_cos=0).backward(made, 0, torch.Generator().manual_seed(0))
    for p, q in zip(plain.parameters(), made.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert list(terms) == ["matching", "cosine", "adversary"]

    alone = small_adversary()
    game(built(tmp_path), alone).backward(made, 0, torch.Generator().manual_seed(0))
    for p, q in zip(net.parameters(), alone.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)  # whatever the inner objective is


def test_of_several_processes_that_share_the_work_one_plays(tmp_path, monkeypatch):
    class Sharded(Nothing):
        sharded = True

    drawn = []
    for rank in (0, 1):
        made, net, generator = built(tmp_path), small_adversary(), torch.Generator().manual_seed(0)
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        terms = game(made, net, Sharded()).backward(made, 0, generator)
        assert list(terms) == ["nothing", "cosine", "adversary"]
        assert (terms["adversary"] > 0) == (rank == 0)
        assert [p.grad is None for p in (made.bases, net.head.weight)] == [rank == 1] * 2
        drawn.append(torch.rand(1, generator=generator))
    assert torch.equal(*drawn)  # what follows draws the same everywhere


def test_the_game_passes_on_what_the_inner_objective_says(tmp_path):
    class Inner(Nothing):
        sharded = True

        def __init__(self) -> None:
            self.rate, self.calls = torch.nn.Parameter(torch.ones(1)), []

        def groups(self):
            return [{"name": "rate", "params": [self.rate], "lr": 0.5}]

        def after(self, synthetic, step, generator):
            self.calls.append(step)

        def evaluation(self, recipe):
            return recipe.model_copy(update={"lr": 0.25})

    made, inner = built(tmp_path), Inner()
    played = game(made, inner=inner)
    played.after(made, 7, torch.Generator())
    assert inner.calls == [7]
    assert played.sharded
    assert played.evaluation(dsetpack.Recipe(epochs=1)).lr == 0.25
    groups = {g["name"]: g for g in Distillation(played, made).groups()}
    assert list(groups) == ["bases", "hallucinators", "rate", "adversary"]
    assert (groups["adversary"]["lr"], groups["adversary"]["momentum"]) == (0.001, 0.9)
    assert (groups["bases"]["lr"], groups["bases"]["momentum"]) == (1.0, 0.95)
    assert (groups["hallucinators"]["lr"], groups["hallucinators"]["momentum"]) == (0.1, 0.95)


def test_sets_without_two_hallucinations_are_refused(tmp_path):
    with pytest.raises(FormatError, match="two different hallucinators, and there is 1"):
        game(built(tmp_path, hallucinators=1))
    plain = Images(torch.rand(2, *IMAGE), torch.tensor([0, 1]), Raw(), 2)
    with pytest.raises(FormatError, match="a set of type Images has none: take the parameterization 'haba'"):
        hallucinated(plain)


def test_the_adversary_is_the_papers_and_depends_on_the_seed(tmp_path):
    settings = AdversarySettings()
    made = settings.build(context(tmp_path))
    assert made.features == 128
    assert torch.equal(settings.build(context(tmp_path)).head.weight, made.head.weight)
    assert not torch.equal(settings.build(context(tmp_path, seed=1)).head.weight, made.head.weight)


# --- budgets


@pytest.mark.parametrize(
    ("classes", "ipc", "bases", "over"),
    [(10, 10, 9, 840), (10, 50, 49, 840), (10, 1, 1, 5 * 6312), (100, 10, 9, 31560 - 307200), (100, 1, 1, 31560)],
)
def test_bases_against_images_as_in_table_1(classes, ipc, bases, over):
    """Five hallucinators are a little more than the one image a class that the paper takes off."""
    settings = Settings(sources=bases, over_parameterisation=1.1)
    budget = settings.budget(CIFAR, classes, ipc)
    assert budget.decoder_floats == 5 * 6312
    assert budget.source_floats == classes * bases * 3072
    assert budget.used - budget.allowed == over
    if over > 0:
        with pytest.raises(FormatError, match=f"{bases} sources a class"):
            Settings(sources=bases).budget(CIFAR, classes, ipc)


def test_budgets_decide_how_many_bases_there_are():
    assert Settings().budget(CIFAR, 10, 10).sources == 8
    assert Settings(over_parameterisation=0.003).budget(CIFAR, 10, 10).sources == 9
    assert Settings(form="released").budget(CIFAR, 10, 10).sources == 9
    assert Settings(over_parameterisation=0.003).budget(CIFAR, 10, 11).sources == 10  # tables 2 and 3
    assert Settings(source_channels=1, over_parameterisation=0.01).budget(CIFAR, 10, 2).sources == 3  # figure 8
    assert Settings(factor=2).budget(CIFAR, 10, 10) == Settings().budget(CIFAR, 10, 10)
    assert Settings(shared=True).budget(CIFAR, 10, 10).decoder_floats == 5 * 6144 + 168
    assert Settings(class_wise=True, sources=1).budget(CIFAR, 10, 12).decoder_floats == 50 * 6312  # table 5
    with pytest.raises(FormatError, match="50 decoders of haba"):
        Settings(class_wise=True).budget(CIFAR, 10, 10)


# --- the set

VARIANTS: list[dict[str, Any]] = [
    {},
    {"depth": 0},
    {"depth": 2, "channels": 4},
    {"channels": 5},
    {"form": "released", "batches": "released"},
    {"source_channels": 1},
    {"shared": True},
    {"class_wise": True},
    {"class_wise": True, "shared": True, "factor": 2},
    {"factor": 2},
    {"factor": 2, "source_channels": 1, "form": "released"},
    {"init": "noise"},
    {"hallucinators": 1},
]


def matching(data: ImageData) -> DistributionMatching:
    pool = NetworkPool("convnet3", 8, 4, 0, data.shape, 2)
    return DistributionMatching(RealMeans(pool, data, Normalized.fit(data.images)))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_variant_decodes_as_its_pack_and_learns(tmp_path, options):
    data = images()
    made = built(tmp_path, data=data, **options)
    objective = matching(data)
    before = [float(objective.backward(made, step, torch.Generator())["matching"]) for step in range(4)]
    work: Objective = objective
    if made.hallucinators > 1:
        work = game(made, inner=objective)
    optimise(Distillation(work, made), Schedule(steps=45, optimizer="sgd"), seed=0)
    after = [float(objective.backward(made, step, torch.Generator())["matching"]) for step in range(4)]
    assert sum(after) < 0.75 * sum(before)

    every = made.images().detach()
    assert every.shape == (len(made.labels), *IMAGE)
    some = torch.randperm(len(every), generator=torch.Generator().manual_seed(1))[:7]
    torch.testing.assert_close(made.images(some).detach(), every[some], rtol=1e-3, atol=1e-4)
    assert made.epoch_rule == "paired"
    card = dsetpack.Card(
        title="x", classes=data.classes, shape=IMAGE, space=made.space.model, epoch_rule=made.epoch_rule
    )
    pack = dsetpack.Pack(card, made.parts(), made.space)
    pack.save(tmp_path / "x.dpk")
    again = dsetpack.open(tmp_path / "x.dpk")
    x, y = again.decode(list(range(len(again))))
    torch.testing.assert_close(x, every, rtol=1e-3, atol=1e-4)
    assert torch.equal(y, made.labels)
    assert made.floats() == sum(t.numel() for p in made.parts() for t in (p.sources, *p.decoder.state_dict().values()))
    settings = Settings(sources=BASES, hallucinators=3, over_parameterisation=9.0).model_copy(update=options)
    assert made.floats() == settings.budget(IMAGE, 2, 20).used


@pytest.mark.parametrize("options", [{"class_wise": True}, {"class_wise": True, "factor": 2}], ids=str)
def test_class_wise_hallucinators_belong_to_their_class(tmp_path, options):
    made = built(tmp_path, **options)
    assert made.bank.config.decoders == 6
    for label in (0, 1):
        made.zero_grad()
        pairs = torch.nonzero(made.labels == label)[:, 0]
        made.images(pairs).square().sum().backward()
        touched = [n for n in range(6) if made.bank.sigma.grad[n].abs().sum() > 0]
        assert touched == [3 * label, 3 * label + 1, 3 * label + 2]
    (part,) = made.parts()
    slots = 3 * made.settings.factor**2
    assert part.class_decoders == (tuple(range(slots)), tuple(range(slots, 2 * slots)))


def hallucinator_of(made: Haba, pairs: Tensor) -> list[int]:
    return sorted(set((pairs % (made.hallucinators * made.settings.factor**2) // made.settings.factor**2).tolist()))


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("class_wise", [False, True])
def test_batches_as_released_have_one_hallucinator(tmp_path, factor, class_wise):
    made = built(tmp_path, batches="released", factor=factor, class_wise=class_wise)
    generator, bases, seen = torch.Generator().manual_seed(0), 2 * BASES * factor**2, set()
    for _ in range(20):
        pairs = made.batch(generator)
        assert len(set(pairs.tolist())) == bases
        (number,) = hallucinator_of(made, pairs)
        assert sorted((pairs - number * factor**2).tolist()) == [
            s * 3 * factor**2 + p for s in range(2 * BASES) for p in range(factor**2)
        ]
        seen.add(number)
    assert seen == {0, 1, 2}
    some = made.batch(generator, 2, label=1)
    assert len(set(some.tolist())) == 2
    assert made.labels[some].tolist() == [1, 1]
    assert len(hallucinator_of(made, some)) == 1
    assert len(made.batch(generator, 1000)) == bases


@pytest.mark.parametrize("factor", [1, 2])
def test_batches_as_in_the_paper_combine_bases_with_two(tmp_path, factor):
    made = built(tmp_path, factor=factor)
    generator, bases, seen = torch.Generator().manual_seed(0), 2 * BASES * factor**2, set()
    for _ in range(20):
        pairs = made.batch(generator)
        assert len(set(pairs.tolist())) == len(pairs) == 2 * bases
        numbers = hallucinator_of(made, pairs)
        assert len(numbers) == 2
        seen.add(tuple(numbers))
    assert seen == {(0, 1), (0, 2), (1, 2)}
    assert len(made.batch(generator, 5)) == 5
    some = made.batch(generator, 4, label=1)
    assert made.labels[some].tolist() == [1] * 4
    assert len(set(some.tolist())) == 4
    assert len({(p // (3 * factor**2), p % factor**2) for p in some.tolist()}) == 2  # two bases, each with both
    assert hallucinator_of(built(tmp_path, hallucinators=1), built(tmp_path, hallucinators=1).batch(generator)) == [0]


def test_two_hallucinations_are_of_the_same_bases(tmp_path):
    made, seen = built(tmp_path, factor=2), set()
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        first, second = made.two(generator)
        (a,), (b,) = hallucinator_of(made, first), hallucinator_of(made, second)
        assert torch.equal(first - 4 * a, second - 4 * b)
        assert len(set(first.tolist())) == 2 * BASES * 4
        seen.add((a, b))
    assert seen == {(a, b) for a in range(3) for b in range(3) if a != b}
    first, second = made.two(generator, 5)
    assert len(first) == len(second) == 5
    with pytest.raises(FormatError, match="there is 1"):
        built(tmp_path, hallucinators=1).two(generator)


def test_bases_start_as_real_images(tmp_path):
    data = images()
    space = Normalized.fit(data.images)
    real = space.apply(data.raw())
    made = built(tmp_path, data=data)
    assert made.get_buffer("base_labels").tolist() == [0] * BASES + [1] * BASES
    found = [[n for n in range(len(data)) if torch.equal(real[n], basis)] for basis in made.bases]
    assert [int(data.labels[n]) for (n,) in found] == [0] * BASES + [1] * BASES
    assert len({n for (n,) in found}) == 2 * BASES

    grey = built(tmp_path, data=data, source_channels=1)
    assert torch.equal(grey.bases, made.bases.mean(1, keepdim=True))
    small = built(tmp_path, data=data, factor=2, resize="area")
    shrunk = F.avg_pool2d(real, 2)
    for basis, label in zip(small.bases, small.get_buffer("base_labels"), strict=True):
        for row, column in ((0, 0), (0, 4), (4, 0), (4, 4)):
            patch = basis[:, row : row + 4, column : column + 4]
            (n,) = [n for n in range(len(data)) if torch.allclose(shrunk[n], patch, atol=1e-6)]
            assert data.labels[n] == label
    noise = built(tmp_path, init="noise", source_channels=1)
    assert noise.bases.shape == (2 * BASES, 1, 8, 8)
    assert noise.bases.std().item() == pytest.approx(1, abs=0.1)


def test_hallucinators_start_as_the_decoder_does_and_by_the_seed(tmp_path):
    made, again, other = built(tmp_path), built(tmp_path), built(tmp_path, seed=1)
    state = made.state_dict()
    assert torch.equal(state["bank.sigma"], torch.ones(3, *IMAGE))
    assert torch.equal(state["bank.mu"], torch.zeros(3, *IMAGE))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in state.items())
    key = "bank.encoder.0.weight"
    assert not torch.equal(state[key], other.state_dict()[key])
    assert not torch.equal(state[key][0], state[key][1])


@pytest.mark.parametrize(
    "options",
    [{}, {"shared": True}, {"channels": 5}, {"source_channels": 1}, {"class_wise": True}],
    ids=str,
)
def test_hallucinators_may_start_near_the_identity(tmp_path, options, monkeypatch):
    made = built(tmp_path, start="identity", **options)
    bases = made.bases.expand(-1, 3, -1, -1)[:, None]
    error = (made.bank.product(made.bases) - bases).square().mean().sqrt().item()
    far = (built(tmp_path, **options).bank.product(made.bases) - bases).square().mean().sqrt().item()
    assert 0 < error < 0.7 * bases.std().item() < far
    first, second = made.bank.product(made.bases)[:, :2].unbind(1)
    assert not torch.allclose(first, second, atol=0.01)

    monkeypatch.setattr(haba, "BLEND", 0.0)
    exact = built(tmp_path, start="identity", noise=0, **options).bank.product(made.bases)
    torch.testing.assert_close(exact, bases.expand_as(exact), rtol=0, atol=1e-5)
    noisy = built(tmp_path, start="identity", noise=0.1, **options).bank.product(made.bases)
    assert 0.1 < (noisy - bases).square().mean().sqrt() < 0.2  # that of sigma and mu, not of the shift under the ReLU


@pytest.mark.parametrize(
    ("options", "message"),
    [({"form": "released"}, "here 'released' and 1"), ({"depth": 2}, "here 'paper' and 2")],
    ids=str,
)
def test_a_start_that_these_hallucinators_cannot_have_is_refused(options, message):
    with pytest.raises(ValueError, match=f"start = 'identity' needs form = 'paper'.*{message}"):
        Settings(start="identity", **options)


@pytest.mark.parametrize("options", [{"shared": True}, {"depth": 0}, {"depth": 0, "class_wise": True}], ids=str)
def test_hallucinators_without_convolutions_of_their_own_start_apart(tmp_path, options):
    """Without noise they would never differ: equal images get equal gradients."""
    objective = matching(images())
    for noise in (0, None):
        made = built(tmp_path, noise=noise, **options)
        optimise(Distillation(game(made, inner=objective), made), Schedule(steps=3, optimizer="sgd"), seed=0)
        sigma = made.bank.sigma.detach()
        assert torch.allclose(sigma[0], sigma[1], atol=1e-5) == (noise == 0)
    made = built(tmp_path, **options)
    assert (made.bank.sigma - 1).std().item() == pytest.approx(0.1, rel=0.1)
    assert made.bank.mu.std().item() == pytest.approx(0.1, rel=0.1)


def test_a_small_basis_is_enlarged_and_then_hallucinated(tmp_path):
    """Table 3's way: with hallucinators of depth 0 at their start, an image is its enlarged small basis."""
    made = built(tmp_path, factor=2, depth=0, noise=0)
    enlarged = F.interpolate(made.bases[1:2, :, 4:, :4], size=(8, 8), mode="bilinear")[0]
    for hallucinator in range(3):
        pair = torch.tensor([1 * 12 + hallucinator * 4 + 2])
        torch.testing.assert_close(made.images(pair)[0], enlarged, rtol=1e-4, atol=1e-5)


def test_a_bank_of_another_size_is_refused(tmp_path):
    made = built(tmp_path)
    with pytest.raises(FormatError, match="a bank of 3 decoders; the settings ask for 12"):
        Haba(made.bases, made.labels, made.bank, Raw(), Settings(hallucinators=3, factor=2))


def work(tmp_path) -> Distillation:
    data = images()
    made = built(tmp_path, data=data, hallucinators=4)
    return Distillation(game(made, inner=matching(data), bases=4), made)


def test_interrupted_and_resumed_is_bit_identical(tmp_path):
    schedule = Schedule(steps=8, optimizer="sgd")
    straight = work(tmp_path)
    optimise(straight, schedule, seed=3)

    def stop(step: int, terms: object) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    first = work(tmp_path)
    with pytest.raises(Interrupted):
        optimise(first, schedule, seed=3, run=Run(tmp_path / "run", on_step=stop))
    second = work(tmp_path)
    optimise(second, schedule, seed=3, run=Run(tmp_path / "run", resume=True))
    for players in ("synthetic", "objective.net"):
        a, b, c = (_tensors(w, players) for w in (straight, second, first))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert not all(torch.equal(x, y) for x, y in zip(a, c, strict=True))


def _tensors(made: Distillation, players: str) -> list[Tensor]:
    module: Any = made
    for name in players.split("."):
        module = getattr(module, name)
    return [value for _, value in sorted(module.state_dict().items())]

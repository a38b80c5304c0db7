"""HaBa's bases and hallucinators: budgets, variants, batches, starts."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.objectives.base import Distillation, Objective
from dsetpack.trainers.parameterizations import haba
from dsetpack.trainers.parameterizations.haba import Haba, HabaSettings
from tests.support.haba_cases import BASES, CIFAR, IMAGE, built, game, images, matching

pytestmark = pytest.mark.usefixtures("one_thread")


# --- budgets


@pytest.mark.parametrize(
    ("classes", "ipc", "bases", "over"),
    [(10, 10, 9, 840), (10, 50, 49, 840), (10, 1, 1, 5 * 6312), (100, 10, 9, 31560 - 307200), (100, 1, 1, 31560)],
)
def test_bases_against_images_as_in_table_1(classes, ipc, bases, over):
    """Five hallucinators cost a little more than the one image per class that the paper subtracts."""
    settings = HabaSettings(sources=bases, over_parameterisation=1.1)
    budget = settings.budget(CIFAR, classes, ipc)
    assert budget.decoder_floats == 5 * 6312
    assert budget.source_floats == classes * bases * 3072
    assert budget.used - budget.allowed == over
    if over > 0:
        with pytest.raises(FormatError, match=f"{bases} sources? per class"):
            HabaSettings(sources=bases).budget(CIFAR, classes, ipc)


def test_budgets_decide_how_many_bases_there_are():
    assert HabaSettings().budget(CIFAR, 10, 10).sources == 8
    assert HabaSettings(over_parameterisation=0.003).budget(CIFAR, 10, 10).sources == 9
    assert HabaSettings(form="released").budget(CIFAR, 10, 10).sources == 9
    assert HabaSettings(over_parameterisation=0.003).budget(CIFAR, 10, 11).sources == 10  # tables 2 and 3
    assert HabaSettings(source_channels=1, over_parameterisation=0.01).budget(CIFAR, 10, 2).sources == 3  # figure 8
    assert HabaSettings(factor=2).budget(CIFAR, 10, 10) == HabaSettings().budget(CIFAR, 10, 10)
    assert HabaSettings(shared=True).budget(CIFAR, 10, 10).decoder_floats == 5 * 6144 + 168
    assert HabaSettings(class_wise=True, sources=1).budget(CIFAR, 10, 12).decoder_floats == 50 * 6312  # table 5
    with pytest.raises(FormatError, match="50 decoders of haba"):
        HabaSettings(class_wise=True).budget(CIFAR, 10, 10)


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
    settings = HabaSettings(sources=BASES, hallucinators=3, over_parameterisation=9.0).model_copy(update=options)
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
    assert 0.1 < (noisy - bases).square().mean().sqrt() < 0.2  # from sigma and mu, not from the shift under the ReLU


@pytest.mark.parametrize(
    ("options", "message"),
    [({"form": "released"}, "here 'released' and 1"), ({"depth": 2}, "here 'paper' and 2")],
    ids=str,
)
def test_a_start_that_these_hallucinators_cannot_have_is_refused(options, message):
    with pytest.raises(ValueError, match=f"start = 'identity' needs form = 'paper'.*{message}"):
        HabaSettings(start="identity", **options)


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
    """As in table 3: with hallucinators of depth 0 at their start, an image is its enlarged small basis."""
    made = built(tmp_path, factor=2, depth=0, noise=0)
    enlarged = F.interpolate(made.bases[1:2, :, 4:, :4], size=(8, 8), mode="bilinear")[0]
    for hallucinator in range(3):
        pair = torch.tensor([1 * 12 + hallucinator * 4 + 2])
        torch.testing.assert_close(made.images(pair)[0], enlarged, rtol=1e-4, atol=1e-5)


def test_a_bank_of_another_size_is_refused(tmp_path):
    made = built(tmp_path)
    with pytest.raises(FormatError, match="a bank of 3 decoders; the settings ask for 12"):
        Haba(made.bases, made.labels, made.bank, Raw(), HabaSettings(hallucinators=3, factor=2))

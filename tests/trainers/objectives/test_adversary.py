"""HaBa's min-max game: equations against direct sums, gradients of the players, resume."""

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
from dsetpack.spaces import Raw
from dsetpack.trainers import parallel
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.objectives.adversary import (
    AdversarySettings,
    contrastive_loss,
    cosine_term,
    hallucinated,
)
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.parameterizations.haba import Haba
from dsetpack.trainers.parameterizations.images import Images
from tests.support.haba_cases import IMAGE, Nothing, built, context, game, images, matching, small_adversary

pytestmark = pytest.mark.usefixtures("one_thread")


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
    """Every view is an anchor; its positives and others come from all other views."""
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
    """Eq. 5 of the set in its current state."""
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
        assert torch.equal(p.grad, q.grad)  # the same for every inner objective


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
    assert torch.equal(*drawn)  # later draws are the same in all processes


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


# --- resume


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

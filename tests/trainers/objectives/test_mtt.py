"""Trajectory matching: gradients against finite differences and the plain unrolled graph; whole runs."""

import os
import signal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dsetpack.formats.card import Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import mtt
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.objectives.mtt import MttSettings, Student, TrajectoryMatching
from dsetpack.trainers.parameterizations.base import Parameterization
from tests.support.mtt_cases import CLASSES, DSA, IMAGE, SMALL, Pixels, context, kfs


def smooth_net() -> nn.Module:
    """A network without kinks, so that finite differences are valid everywhere."""
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.GroupNorm(3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten())
    return nn.Sequential(body, nn.Linear(3 * 4 * 5, CLASSES)).double()


def convnet() -> nn.Module:
    return network("convnet3", IMAGE, CLASSES, 4, seed=1).double()


class Walk:
    """Stands in for experts: parameters of a network, moved a little at random from epoch to epoch."""

    def __init__(self, net: nn.Module) -> None:
        self.start = torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()
        self.asked: list[tuple[int, int]] = []
        self.fixed: Tensor | None = None

    def __call__(self, number: int, epoch: int) -> Tensor:
        self.asked.append((number, epoch))
        if self.fixed is not None and len(self.asked) % 2 == 0:
            return self.fixed
        drawn = torch.Generator().manual_seed(100 * number + epoch)
        return self.start + 0.05 * torch.randn(len(self.start), generator=drawn, dtype=self.start.dtype)


class Recorded:
    """An augmentation that records its seeds."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, x: Tensor, seed: int, siamese: bool = False) -> Tensor:
        assert not siamese
        self.seeds.append(seed)
        return DSA(x, seed)


def objective(net: nn.Module, alpha: float = 0.4, augment: object = DSA, **changes: object) -> TrajectoryMatching:
    values = {"syn_steps": 3, "max_start": 3, "lr": alpha, "experts": {"count": 2, "epochs": 8}, **changes}
    return TrajectoryMatching(MttSettings(**values), Walk(net), Student(net), augment)


def loss_of(work: TrajectoryMatching, synthetic: Parameterization) -> float:
    return work.backward(synthetic, 0, torch.Generator().manual_seed(3))["trajectory"].item()


def gradients(work: TrajectoryMatching, synthetic: Parameterization) -> list[Tensor]:
    synthetic.zero_grad()
    work.alpha.grad = None
    loss_of(work, synthetic)
    return [p.grad.clone() for p in (*synthetic.parameters(), work.alpha)]


def unrolled(work: TrajectoryMatching, synthetic: Parameterization) -> tuple[Tensor, Tensor]:
    """The loss and the student's end as one plain graph, on the draws that ``work`` makes from the same seed."""
    drawn, seen = [], Recorded()
    batch, synthetic.batch = synthetic.batch, lambda *a: drawn.append(batch(*a)) or drawn[-1]
    kept, work.augment, work.experts.asked = work.augment, seen if work.augment else None, []
    loss_of(work, synthetic)
    work.augment, (first, last) = kept, work.experts.asked
    synthetic.batch = batch
    work.experts.asked = []
    start, target = work.experts(*first), work.experts(*last)
    named = list(work.student.net.named_parameters())
    theta = start.clone().requires_grad_()
    for step, pair_ids in enumerate(drawn):
        x = synthetic.images(pair_ids)
        x = x if work.augment is None else DSA(x, seen.seeds[step])
        at, values = 0, {}
        for name, p in named:
            values[name] = theta[at : at + p.numel()].view(p.shape)
            at += p.numel()
        loss = F.cross_entropy(functional_call(work.student.net, values, (x,)), synthetic.labels[pair_ids])
        theta = theta - work.alpha * torch.autograd.grad(loss, theta, create_graph=True)[0]
    return (theta - target).square().sum() / (start - target).square().sum(), theta


@pytest.mark.parametrize("syn_batch", [None, 4])
def test_gradient_through_3_steps_is_that_of_finite_differences(syn_batch):
    work, synthetic = objective(smooth_net(), syn_batch=syn_batch), Pixels().double()
    pixels, alpha = gradients(work, synthetic)
    assert pixels.abs().max() > 1e-5
    assert alpha.abs() > 1e-4

    def slope(value: Tensor, place: tuple[int, ...], h: float = 1e-5) -> float:
        ends = []
        for sign in (1, -1):
            value[place] += sign * h
            ends.append(loss_of(work, synthetic))
            value[place] -= sign * h
        return (ends[0] - ends[1]) / (2 * h)

    assert slope(work.alpha.data, ()) == pytest.approx(alpha.item(), rel=1e-6)
    places = torch.randint(pixels.numel(), (12,), generator=torch.Generator().manual_seed(0)).tolist()
    for flat in [*places, int(pixels.abs().argmax())]:
        place = tuple(int(i) for i in np.unravel_index(flat, pixels.shape))
        assert slope(synthetic.pixels.data, place, 1e-4) == pytest.approx(pixels[place].item(), rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("graph_images", [0, 7, 1000])
@pytest.mark.parametrize("syn_batch", [None, 4])
@pytest.mark.parametrize("make", [Pixels, kfs])
def test_gradient_is_that_of_the_plain_unrolled_graph(make, syn_batch, graph_images, monkeypatch):
    monkeypatch.setattr(mtt, "DECODE", 5)  # several pieces
    synthetic = make().double()
    work = objective(convnet(), syn_batch=syn_batch, graph_images=graph_images, syn_steps=4)
    found = gradients(work, synthetic)
    loss, _ = unrolled(work, synthetic)
    assert loss_of(work, synthetic) == pytest.approx(loss.item(), rel=1e-12)
    expected = torch.autograd.grad(loss, [*synthetic.parameters(), work.alpha])
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 1e-7
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-13 * theirs.abs().max().item())


def test_which_graphs_are_kept():
    batches = [mtt._Batch(torch.arange(4), torch.arange(4), 0)] * 5
    for images, first in [(0, 5), (3, 5), (4, 4), (11, 3), (20, 0), (99, 0)]:
        assert objective(smooth_net(), graph_images=images)._first_kept(batches) == first


def test_loss_is_0_where_the_student_lands_on_the_expert():
    work, synthetic = objective(smooth_net()), Pixels().double()
    _, end = unrolled(work, synthetic)
    work.experts.asked, work.experts.fixed = [], end.detach()
    assert loss_of(work, synthetic) < 1e-28
    work.experts.asked = []
    assert all(g.abs().max() < 1e-12 for g in gradients(work, synthetic))


def test_loss_is_1_where_it_does_not_move():
    work, synthetic = objective(smooth_net()), Pixels().double()
    with torch.no_grad():
        work.alpha.zero_()
    assert loss_of(work, synthetic) == 1
    assert all(g.abs().max() == 0 for g in gradients(work, synthetic)[:-1])


def test_gradients_are_added():
    work, synthetic = objective(smooth_net()), Pixels().double()
    once = gradients(work, synthetic)
    loss_of(work, synthetic)
    for p, g in zip((*synthetic.parameters(), work.alpha), once, strict=True):
        assert torch.equal(p.grad, 2 * g)


def test_segments_are_drawn_as_asked():
    work, synthetic = objective(smooth_net(), expert_epochs=4, max_start=3, syn_steps=1), Pixels().double()
    drawn = torch.Generator().manual_seed(0)
    for step in range(40):
        work.backward(synthetic, step, drawn)
    asked = work.experts.asked
    assert all(a[0] == b[0] and b[1] == a[1] + 4 for a, b in zip(asked[::2], asked[1::2], strict=True))
    assert set(asked[::2]) == {(n, t) for n in range(2) for t in range(3)}


def test_an_expert_that_does_not_move_is_named():
    work = objective(smooth_net())
    work.experts = lambda number, epoch: torch.ones(5)
    with pytest.raises(DsetpackError, match=r"expert [01] is the same after \d and \d epochs: .*precision f32"):
        loss_of(work, Pixels().double())


def test_alpha_learns_stays_above_its_minimum_and_ends_in_the_recipe():
    work, synthetic = objective(convnet().float(), lr=0.05, lr_lr=1e-3, lr_min=0.02), Pixels()
    work.experts.start = work.experts.start.float()
    optimise(Distillation(work, synthetic), Schedule(steps=4, optimizer="sgd"), seed=0)
    recipe = Recipe(epochs=7, momentum=0.8)
    found = work.evaluation(recipe)
    assert found.lr == work.alpha.item() not in (0.05, recipe.lr)
    assert found.model_copy(update={"lr": recipe.lr}) == recipe
    with torch.no_grad():
        work.alpha.fill_(-1)
    work.after(synthetic, 0, torch.Generator())
    assert work.evaluation(recipe).lr == 0.02
    (group,) = work.groups()
    assert (group["lr"], group["momentum"]) == (1e-3, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: Pixels(lr=3.0), kfs])
def test_a_few_real_steps_lower_the_loss(tmp_path, make):
    synthetic, where = make(), context(tmp_path)
    work = SMALL.model_copy(update={"syn_batch": None, "syn_steps": 6}).build(where, synthetic)

    def mean() -> float:
        return sum(work.backward(synthetic, 0, torch.Generator().manual_seed(s))["trajectory"].item() for s in range(8))

    before = mean()
    optimise(Distillation(work, synthetic), Schedule(steps=25, optimizer="sgd", momentum=0.5), seed=0)
    assert mean() < 0.9 * before


@pytest.mark.parametrize("make", [Pixels, kfs])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, make):
    schedule = Schedule(steps=6, optimizer="sgd", momentum=0.5)
    where = context(tmp_path / "cache", augment=DSA)

    def state(work: TrajectoryMatching, synthetic: Parameterization) -> list[Tensor]:
        return [*synthetic.parameters(), work.alpha]

    straight = make()
    expected = SMALL.build(where, straight)
    optimise(Distillation(expected, straight), schedule, seed=7)

    first = make()
    stop = Run(tmp_path, on_step=lambda step, _: os.kill(os.getpid(), signal.SIGINT) if step == 2 else None)
    with pytest.raises(Interrupted):
        optimise(Distillation(SMALL.build(where, first), first), schedule, seed=7, run=stop)
    second = make()
    work = SMALL.build(where, second)
    optimise(Distillation(work, second), schedule, seed=7, run=Run(tmp_path, resume=True))
    for a, b, c in zip(state(expected, straight), state(work, second), first.parameters(), strict=False):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert work.alpha != SMALL.lr


def test_starts_beyond_the_recording_are_refused():
    MttSettings(max_start=9, expert_epochs=2, experts={"epochs": 10})
    with pytest.raises(ValidationError, match=r"need epoch 11; experts are recorded up to epoch 10: lower max_start"):
        MttSettings(max_start=10, expert_epochs=2, experts={"epochs": 10})
    with pytest.raises(ValidationError, match=r"max_start\n.*need epoch 21; experts are recorded up to epoch 20"):
        MttSettings(experts={"epochs": 20})  # the default of max_start is 20


def test_what_it_refuses(tmp_path):
    assert "draws new ones" in MttSettings.refuses["generator"]

    class Learned(Pixels):
        def targets(self, pair_ids=None):
            return torch.zeros(len(pair_ids), CLASSES)

    with pytest.raises(FormatError, match="hard labels; this set learns its labels"):
        SMALL.build(context(tmp_path), Learned())

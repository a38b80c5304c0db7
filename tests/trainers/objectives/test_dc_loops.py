"""Gradient matching's loops: which network, when it trains and on what, shares of processes, exact resume."""

import os
import signal
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives import dc
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.seeds import derive, generator
from tests.support.dc_cases import CLASSES, context, match, pixels, small, squares


@pytest.fixture
def doubles(monkeypatch):
    monkeypatch.setattr(dc, "network", small)


def test_a_new_network_every_outer_cycle(monkeypatch):
    made, where = pixels(), context()
    seeds = []

    def spy(*args: Any, seed: int) -> Network:
        seeds.append(seed)
        return small(*args, seed=seed)

    monkeypatch.setattr(dc, "network", spy)
    objective = dc.DcSettings(outer=3, inner=1).build(where, made)
    seeds.clear()
    weights = []
    for step in range(7):
        objective.backward(made, step, generator(0, step))
        weights.append(objective.net.head.weight.detach().clone())
        objective.after(made, step, generator(0, step))
    assert seeds == [derive(5, "network", n) for n in range(3)]
    assert len({tuple(w.flatten().tolist()) for w in weights}) == 7  # each network is new or was trained


def test_the_network_trains_on_the_updated_set(doubles):
    """One epoch in one batch is one step of plain gradient descent on the set as the optimiser left it."""
    made, where = pixels(), context()
    objective = dc.DcSettings(outer=2, inner=1, network_lr=0.5).build(where, made)
    objective.backward(made, 0, generator(0))
    before = [p.detach().clone() for p in objective.net.parameters()]
    stale = torch.autograd.grad(F.cross_entropy(objective.net(made.x.detach()), made.labels), objective.net.head.weight)
    made.x.data -= made.x.grad
    expected = torch.autograd.grad(
        F.cross_entropy(objective.net(made.x.detach()), made.labels), list(objective.net.parameters())
    )
    made.zero_grad()
    objective.after(made, 0, generator(0))
    for was, now, slope in zip(before, objective.net.parameters(), expected, strict=True):
        assert torch.allclose(now, was - 0.5 * slope, rtol=1e-12, atol=1e-15)
    assert (stale[0] - expected[-2]).abs().max() > 1e-4
    assert made.x.grad is None
    kept = objective.net.head.weight.detach().clone()
    objective.backward(made, 1, generator(1))
    objective.after(made, 1, generator(1))  # the last of its cycle: the network is not used again
    assert torch.equal(objective.net.head.weight, kept)


def test_an_inner_epoch_takes_every_pair_once(doubles, monkeypatch):
    made, where = pixels(per_class=5), context()
    objective = dc.DcSettings(outer=2, inner=4, network_batch=4).build(where, made)
    batches = []
    monkeypatch.setattr(objective, "_train", lambda x, target, g: batches.append((x, target)))
    objective.after(made, 0, generator(0))
    assert [len(x) for x, _ in batches] == [4, 4, 2] * 4
    number = {tuple(x.flatten().tolist()): n for n, x in enumerate(made.x.detach())}
    orders = []
    for epoch in range(4):
        part = batches[3 * epoch : 3 * epoch + 3]
        orders.append([number[tuple(x.flatten().tolist())] for xs, _ in part for x in xs])
        assert torch.equal(torch.cat([y for _, y in part]), made.labels[orders[-1]])
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_idc_trains_networks_on_real_images(doubles):
    """Two batches of all real images: two steps with momentum and weight decay."""
    made, where = pixels(), context()
    settings = dc.DcSettings(**{**dc.IDC, "network_batch": 1000, "inner": 2})
    assert settings.loops(1) == (100, 2)
    objective = settings.build(where, made)
    weights = [p.detach().clone().requires_grad_() for p in objective.net.parameters()]
    names = [name for name, _ in objective.net.named_parameters()]
    velocity = [torch.zeros_like(w) for w in weights]
    for _ in range(2):
        logits = torch.func.functional_call(objective.net, dict(zip(names, weights, strict=True)), where.real)
        slopes = torch.autograd.grad(F.cross_entropy(logits, where.data.labels), weights)
        velocity = [0.9 * v + g + 5e-4 * w.detach() for v, g, w in zip(velocity, slopes, weights, strict=True)]
        weights = [(w - 0.01 * v).detach().requires_grad_() for w, v in zip(weights, velocity, strict=True)]
    objective.after(made, 0, generator(0))
    for found, expected in zip(objective.net.parameters(), weights, strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_at_most_so_many_pairs_of_a_class(doubles):
    made = pixels(per_class=6)
    match(made, context(), synthetic_batch=2)
    moved = made.x.grad.flatten(1).abs().sum(1) > 0
    assert [int(moved[made.labels == label].sum()) for label in range(CLASSES)] == [2, 2]
    match(made, context(), synthetic_batch=100)
    assert (made.x.grad.flatten(1).abs().sum(1) > 0).all()


def test_processes_share_out_the_classes(doubles, monkeypatch):
    made, where = pixels(), context(augment=True)
    whole, _ = match(made, where, real_batch=5)
    gradient, losses, shares = made.x.grad.clone(), [], torch.zeros_like(made.x)
    for rank in range(2):
        monkeypatch.setattr(dc.parallel, "mine", lambda count, rank=rank: range(rank, count, 2))
        losses.append(match(made, where, real_batch=5)[0])
        shares += made.x.grad
    assert min(losses) > 0
    assert sum(losses) == pytest.approx(whole, rel=1e-12)
    assert torch.allclose(shares, gradient, rtol=1e-10, atol=1e-15)


def test_batch_norm_keeps_the_statistics_of_real_images():
    where = context(squares(per_class=10), double=False)
    made = pixels(dtype=torch.float32)
    objective = dc.DcSettings(network="resnet10", width=4, outer=2, inner=1).build(where, made)
    for step in range(2):  # a fresh network, then a trained one
        objective.backward(made, step, generator(step))
        stem, norm = objective.net.body[0], objective.net.body[1]
        assert not norm.training
        assert objective.net.training
        with torch.no_grad():
            maps = stem(where.real)
        assert torch.allclose(norm.running_mean, maps.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(norm.running_var, maps.transpose(0, 1).flatten(1).var(1), rtol=1e-4)
        assert made.x.grad.isfinite().all()
        objective.after(made, step, generator(step))


@pytest.mark.parametrize("name", ["convnet3", "resnet10"])
@pytest.mark.parametrize("stop", [0, 2])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, name, stop):
    """Interrupted in the middle of a cycle (0), and at its end (2)."""

    def work() -> Distillation:
        where, made = context(double=False, augment=True), pixels(dtype=torch.float32)
        settings = dc.DcSettings(network=name, width=4, outer=3, inner=2, network_momentum=0.9, real_batch=6)
        return Distillation(settings.build(where, made), made)

    schedule = Schedule(steps=5, optimizer="sgd", momentum=0.5)
    straight, first, second = work(), work(), work()
    last = optimise(straight, schedule, seed=7)

    def interrupt(step: int, terms: Any) -> None:
        if step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        optimise(first, schedule, seed=7, run=Run(tmp_path, on_step=interrupt))
    torch.manual_seed(99)
    assert optimise(second, schedule, seed=7, run=Run(tmp_path, resume=True)) == last
    assert not torch.equal(first.synthetic.x, straight.synthetic.x)
    assert torch.equal(second.synthetic.x, straight.synthetic.x)
    states = [made.objective.state_dict()["network"] for made in (straight, second)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_loops_of_the_release():
    settings = dc.DcSettings()
    assert [settings.loops(ipc) for ipc in (1, 10, 50)] == [(1, 1), (10, 50), (50, 10)]
    assert [settings.loops(ipc) for ipc in (2, 25, 100)] == [(1, 1), (20, 25), (50, 10)]
    assert dc.DcSettings(outer=7).loops(10) == (7, 50)
    assert dc.DcSettings(inner=0).loops(10) == (10, 0)
    assert dc.DcSettings(train_on="real").loops(10) == (100, 8)

"""Gradient matching against loops, closed forms and finite differences, in double precision with tiny networks."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Raw
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives import dc
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.seeds import derive, generator
from dsetpack.training.augment import Dsa

Image = tuple[int, int, int]
IMAGE, CLASSES = (1, 8, 8), 2
DSA = Augmentation(ops=("color", "crop", "cutout", "flip", "scale", "rotate"))


class Doubled(Raw):
    def apply(self, x: Tensor) -> Tensor:
        return x.double()


class Pixels(Parameterization):
    """Images as they are, with or without learned labels."""

    lr = 0.1

    def __init__(self, x: Tensor, labels: Tensor, soft: bool = False) -> None:
        super().__init__()
        self.x = nn.Parameter(x.clone())
        self.soft = nn.Parameter(F.one_hot(labels, CLASSES).to(x) * 0.9 + 0.05) if soft else None
        self.space = Raw()
        self.register_buffer("labels", labels)

    def images(self, pairs: Tensor | None = None) -> Tensor:
        return self.x * 1.0 if pairs is None else self.x[pairs]

    def targets(self, pairs: Tensor | None = None) -> Tensor | None:
        return self.soft if self.soft is None or pairs is None else self.soft[pairs]

    def groups(self) -> Any:
        return [{"name": "pixels", "params": list(self.parameters()), "lr": self.lr}]

    def parts(self) -> Any:
        raise NotImplementedError


def squares(per_class: int = 12, image: Image = IMAGE) -> ImageData:
    """Noisy squares, left or right."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(per_class * CLASSES) % CLASSES
    x = torch.randint(0, 100, (len(y), *image), generator=g, dtype=torch.uint8)
    for n, label in enumerate(y):
        left = image[2] // 2 * int(label)
        x[n, :, 2:6, left : left + image[2] // 2] += 120
    return ImageData(x, y, ("left", "right"), "squares")


def context(data: ImageData | None = None, *, double: bool = True, augment: bool = False, ipc: int = 1) -> Context:
    space = Doubled() if double else Raw()
    run = lambda name: Run()  # noqa: E731
    return Context(data or squares(), space, ipc, 5, Path("unused"), run, Dsa(DSA) if augment else None)


def pixels(
    per_class: int = 2, image: tuple[int, int, int] = IMAGE, dtype: Any = torch.float64, **options: Any
) -> Pixels:
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    return Pixels(torch.rand(len(labels), *image, generator=g, dtype=torch.float64).to(dtype), labels, **options)


def small(name: str, image: Any, classes: int, width: int | None, *, seed: int) -> Network:
    """In place of ``network``: two layers in double precision; or only a linear one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "linear":
            return Network(nn.Identity(), math.prod(image), classes).double()
        body = nn.Sequential(nn.Conv2d(image[0], 3, 3), nn.GroupNorm(3, 3), nn.Tanh(), nn.AvgPool2d(2))
        return Network(body, 3 * ((image[1] - 2) // 2) * ((image[2] - 2) // 2), classes).double()


@pytest.fixture
def doubles(monkeypatch):
    monkeypatch.setattr(dc, "network", small)


def match(made: Pixels, where: Context, step: int = 0, seed: int = 0, **settings: Any) -> tuple[float, Any]:
    """Loss and objective after one ``backward``."""
    objective = dc.DcSettings(**settings).build(where, made)
    made.zero_grad()
    return objective.backward(made, step, torch.Generator().manual_seed(seed))["matching"].item(), objective


def loop_distance(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """One layer's distance, number by number."""
    total = 0.0
    for row in range(a.shape[0]):
        pairs = list(zip(a[row].ravel().tolist(), b[row].ravel().tolist(), strict=True))
        if name == "cosine":
            norms = math.sqrt(sum(x * x for x, _ in pairs)) * math.sqrt(sum(y * y for _, y in pairs))
            total += 1 - sum(x * y for x, y in pairs) / (norms + 1e-6)
        else:
            total += sum((x - y) ** 2 if name == "mse" else abs(x - y) for x, y in pairs)
    return total


@pytest.mark.parametrize("distance", ["cosine", "mse", "l1"])
def test_distance_is_a_loop_over_rows(distance):
    g = torch.Generator().manual_seed(2)
    shapes = [(4, 3, 3, 2), (5, 7), (3, 2, 4)]
    first, second = ([torch.randn(s, generator=g, dtype=torch.float64) for s in shapes] for _ in range(2))
    found = dc.matching_loss(tuple(first), tuple(second), distance).item()
    expected = sum(loop_distance(distance, a.numpy(), b.numpy()) for a, b in zip(first, second, strict=True))
    assert found == pytest.approx(expected, rel=1e-12)


def test_cosine_of_dead_rows_is_finite():
    a = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    loss = dc.row_cosine(a, torch.tensor([[0.0, 0.0], [4.0, 3.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(1 + 1 - 24 / 25, abs=1e-6)
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("distance", ["cosine", "mse", "l1"])
def test_loss_of_a_linear_network_is_the_closed_form(doubles, distance):
    """Softmax regression: the gradient of the weights is the mean of (p - y) xᵀ; biases do not count.

    Batches larger than a class hold all of it.
    """
    data, made = squares(), pixels()
    loss, objective = match(made, context(data), network="linear", distance=distance, real_batch=1000)
    weight, bias = (p.detach().numpy() for p in objective.net.head.parameters())

    def gradient(x: np.ndarray, label: int) -> np.ndarray:
        z = np.exp(x @ weight.T + bias)
        return ((z / z.sum(1, keepdims=True) - np.eye(CLASSES)[label])[:, :, None] * x[:, None, :]).mean(0)

    expected = 0.0
    for label in range(CLASSES):
        real = data.images[data.labels == label].double().flatten(1).numpy() / 255
        synthetic = made.x[made.labels == label].detach().flatten(1).numpy()
        expected += loop_distance(distance, gradient(synthetic, label), gradient(real, label))
    assert loss == pytest.approx(expected, rel=1e-6)  # real images are float32 before they are doubled


@pytest.mark.parametrize(
    ("distance", "options"),
    [("cosine", {}), ("cosine", {"augment": True}), ("mse", {"soft": True}), ("l1", {"augment": True, "soft": True})],
)
def test_gradient_is_that_of_finite_differences(doubles, distance, options):
    """The second-order gradient of the whole loss, with respect to pixels and learned labels."""
    where = context(squares(image=(1, 7, 6)), augment=options.get("augment", False))
    made = pixels(image=(1, 7, 6), soft=options.get("soft", False))
    objective = dc.DcSettings(distance=distance, real_batch=6).build(where, made)
    step = lambda: objective.backward(made, 0, generator(3))["matching"].item()  # noqa: E731
    step()
    exact = {name: p.grad.clone() for name, p in made.named_parameters()}
    assert set(exact) == ({"x", "soft"} if made.soft is not None else {"x"})
    width = 1e-6
    for name, parameter in made.named_parameters():
        flat = parameter.data.view(-1)
        numeric = torch.empty_like(flat)
        for n in range(len(flat)):
            kept = flat[n].item()
            losses = []
            for value in (kept - width, kept + width):
                flat[n] = value
                losses.append(step())
            flat[n] = kept
            numeric[n] = (losses[1] - losses[0]) / (2 * width)
        scale = exact[name].abs().max()
        assert scale > 1e-3
        assert (numeric.view_as(parameter) - exact[name]).abs().max() < 1e-5 * scale
    assert all(p.grad is None for p in objective.net.parameters())


def test_linear_layers_can_be_left_out(doubles):
    """On equal terms the loss without the head plus that of the head alone is the whole."""
    made, where = pixels(), context()
    whole, objective = match(made, where, distance="mse", real_batch=1000)
    assert [g.ndim for g in objective._gradient(made.images(), made.labels)] == [4, 2]
    convolution, objective = match(made, where, distance="mse", real_batch=1000, linear=False)
    assert [g.ndim for g in objective._gradient(made.images(), made.labels)] == [4]
    heads = 0.0
    for label in range(CLASSES):
        of_class = [where.real[where.data.labels == label], made.x[made.labels == label]]
        losses = [F.cross_entropy(objective.net(x), torch.full((len(x),), label)) for x in of_class]
        a, b = (torch.autograd.grad(loss, objective.net.head.weight)[0] for loss in losses)
        heads += (a - b).square().sum().item()
    assert heads > 1e-6
    assert convolution + heads == pytest.approx(whole, rel=1e-9)


def test_real_and_synthetic_images_get_the_same_draw(doubles):
    """If the set is the real data, nothing is left to match, whatever the augmentation."""
    data = squares()
    where = context(data, augment=True)
    made = Pixels(where.real, data.labels)
    settings = {"distance": "mse", "real_batch": 1000}
    for seed in range(8):
        assert match(made, where, seed=seed, **settings)[0] < 1e-20

    class Apart(Dsa):
        """Another draw at each call."""

        calls = 0

        def __call__(self, x: Tensor, generator: Any, siamese: bool = False) -> Tensor:
            self.calls += 1
            return super().__call__(x, generator + self.calls, siamese)

    apart = Context(data, where.space, 1, 5, Path("unused"), where.run, Apart(DSA))
    assert max(match(made, apart, seed=seed, **settings)[0] for seed in range(8)) > 1e-3


def test_draws_are_siamese_in_matching_and_per_sample_in_training(doubles):
    calls = []

    class Spy(Dsa):
        def __call__(self, x: Tensor, generator: Any, siamese: bool = False) -> Tensor:
            calls.append((len(x), generator if siamese else "own draws"))
            return super().__call__(x, generator, siamese)

    plain = context()
    where = Context(plain.data, plain.space, 1, 5, plain.cache, plain.run, Spy(DSA))
    made = pixels()
    drawn = torch.Generator().manual_seed(0)
    objective = dc.DcSettings(real_batch=5, outer=2, inner=3, network_batch=3).build(where, made)
    objective.backward(made, 0, drawn)
    assert [size for size, _ in calls] == [5, 2, 5, 2]
    seeds = [seed for _, seed in calls]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]
    calls.clear()
    objective.after(made, 0, drawn)
    assert calls == [(3, "own draws"), (1, "own draws")] * 3


@pytest.mark.parametrize(
    ("lr", "options"), [(0.1, {}), (1.0, {**dc.IDC, "outer": 5}), (0.1, {"distance": "l1", "outer": 5, "inner": 2})]
)
def test_the_loss_falls(lr, options):
    """Real steps on a real network; measured by networks and real batches that it never saw."""
    where, made = context(squares(image=(1, 16, 16)), double=False), pixels(image=(1, 16, 16), dtype=torch.float32)
    made.lr = lr
    settings = dc.DcSettings(**{"width": 8, "real_batch": 8, "outer": 2, "inner": 2, **options})
    objective = settings.build(where, made)

    def probe() -> float:
        steps = [settings.outer * n for n in range(1000, 1008)]
        losses = [objective.backward(made, step, generator(1, step))["matching"].item() for step in steps]
        made.zero_grad()
        return sum(losses)

    before = probe()
    optimise(Distillation(objective, made), Schedule(steps=40, optimizer="sgd", momentum=0.5), seed=0)
    assert probe() < 0.7 * before


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
    assert len({tuple(w.flatten().tolist()) for w in weights}) == 7  # drawn anew, or trained


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


def test_what_it_refuses():
    assert "generator" in dc.DcSettings.refuses
    lonely = squares().take(torch.arange(0, 24, 2))
    with pytest.raises(FormatError, match=r"squares has no image of class 1 \('right'\)"):
        dc.DcSettings(width=4).build(context(lonely), pixels())
    with pytest.raises(FormatError, match="no network 'convnet9'"):
        dc.DcSettings(network="convnet9").build(context(), pixels())
    with pytest.raises(ValueError, match="distance"):
        dc.DcSettings(distance="cos")

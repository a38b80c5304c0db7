"""Gradient matching against loops, closed forms and finite differences, in double precision with tiny networks."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.objectives import dc
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.seeds import generator
from dsetpack.training.augment import Dsa
from tests.support.dc_cases import CLASSES, DSA, Pixels, context, match, pixels, small, squares


@pytest.fixture
def doubles(monkeypatch):
    monkeypatch.setattr(dc, "network", small)


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

    A batch larger than a class holds the whole class.
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
    assert loss == pytest.approx(expected, rel=1e-6)  # real images are float32 before they become float64


@pytest.mark.slow
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
    """The loss without the head plus that of the head alone is the whole loss."""
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
    """If the set is the real data, nothing is left to match under any augmentation."""
    data = squares()
    where = context(data, augment=True)
    made = Pixels(where.real, data.labels)
    settings = {"distance": "mse", "real_batch": 1000}
    for seed in range(8):
        assert match(made, where, seed=seed, **settings)[0] < 1e-20

    class Apart(Dsa):
        """Makes a new draw at each call."""

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
    """Real steps on a real network, measured with networks and real batches that the set never saw."""
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


def test_what_it_refuses():
    assert "generator" in dc.DcSettings.refuses
    lonely = squares().take(torch.arange(0, 24, 2))
    with pytest.raises(FormatError, match=r"squares has no image of class 1 \('right'\)"):
        dc.DcSettings(width=4).build(context(lonely), pixels())
    with pytest.raises(FormatError, match="no network 'convnet9'"):
        dc.DcSettings(network="convnet9").build(context(), pixels())
    with pytest.raises(ValueError, match="distance"):
        dc.DcSettings(distance="cos")

"""FRePo and ISA against numpy, quadrature and direct computation, and whole runs of them."""

import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dsetpack.augment import Dsa
from dsetpack.decoders import decoder
from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.kinds.kfs import Config
from dsetpack.spaces import Raw
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.krr import KrrPredictor, centred, krr_predict
from dsetpack.trainers.loop import Group, Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import frepo, isa
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.parameterizations.kfs import Kfs
from dsetpack.trainers.seeds import generator

IMAGE, CLASSES = (1, 8, 8), 3
SMALL = {"width": 4, "pool": 3, "updates": 2, "batch": 16, "online_lr": 1e-2}


def images(per_class: int = 12, channels: int = 1) -> ImageData:
    """A bright bar in one of three places, on noise."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(per_class * CLASSES) % CLASSES
    x = torch.randint(0, 80, (len(y), channels, 8, 8), generator=g, dtype=torch.uint8)
    for n, label in enumerate(y.tolist()):
        x[n, :, 3 * label : 3 * label + 2] += 150
    return ImageData(x, y, ("top", "middle", "bottom"), "bars")


def context(data: ImageData | None = None, augment: Dsa | None = None, seed: int = 0) -> Context:
    return Context(data or images(), Raw(), 1, seed, Path("unused"), lambda name: Run(), augment)


class Learned(Parameterization):
    """Images and (if wanted) labels as they are; stands in for the parameterization of images."""

    def __init__(self, data: ImageData, per_class: int = 2, soft: bool = True) -> None:
        super().__init__()
        self.space = Raw()
        index = data.draw(per_class, 0)
        self.pixels = nn.Parameter(data.raw(index) * 0.3 + 0.4 * torch.rand(data.shape, generator=generator(0, "x")))
        self.register_buffer("labels", data.labels[index], persistent=False)
        self.soft = nn.Parameter(0.6 * centred(self.labels, CLASSES).float()) if soft else None

    def images(self, pairs=None):
        return self.pixels if pairs is None else self.pixels[pairs]

    def targets(self, pairs=None):
        return self.soft if self.soft is None or pairs is None else self.soft[pairs]

    def groups(self):
        return [Group(name="all", params=list(self.parameters()), lr=0.02)]

    def parts(self):
        raise NotImplementedError


def built(settings: frepo.Settings, *, where: Context | None = None, **options: object) -> Distillation:
    where = where or context()
    synthetic = Learned(where.data, **options)
    return Distillation(settings.build(where, synthetic), synthetic)


def gradients(work: Distillation) -> list[Tensor]:
    work.synthetic.zero_grad()
    work.backward(0, generator(5))
    return [p.grad.clone() for p in work.synthetic.parameters()]


def flat(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in items for k, v in flat(item, f"{path}/{key}").items()}
    return {path: value}


def same(first: object, second: object) -> bool:
    a, b = flat(first), flat(second)
    assert a.keys() == b.keys()
    return all(torch.equal(v, b[k]) if isinstance(v, Tensor) else v == b[k] for k, v in a.items())


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# FRePo's loss


def direct_loss(work: Distillation, flip: bool) -> tuple[float, float]:
    """Both terms of step 0, by numpy."""
    g, objective = generator(5), work.objective
    net = objective.pool[int(torch.randint(3, (1,), generator=g))].net.eval()
    chosen = torch.randperm(36, generator=g)[:16]
    data = objective.context.data
    x, y = work.synthetic.pixels.detach(), work.synthetic.soft.detach().double().numpy()
    if flip:
        x, y = torch.cat([x, x.flip(3)]), np.concatenate([y, y])
    with torch.no_grad():
        s, t = (net.embed(v).double().numpy() for v in (x, data.raw(chosen)))
    target = np.eye(CLASSES)[data.labels[chosen].numpy()] - 1 / CLASSES
    k = s @ s.T
    error = t @ s.T @ np.linalg.solve(k + 1e-6 * np.trace(k) / len(k) * np.eye(len(k)), y) - target
    top = np.sort(work.synthetic.soft.detach().double().numpy(), axis=1)
    margin = -np.minimum(top[:, -1] - top[:, -2], 1 / CLASSES).mean()
    return 0.5 * (error**2).sum(1).mean(), margin


@pytest.mark.parametrize("flip", [False, True])
def test_the_loss_is_numpys(flip):
    work = built(frepo.Settings(**SMALL, flip=flip))
    terms = work.backward(0, generator(5))
    regression, margin = direct_loss(work, flip)
    assert terms["regression"].item() == pytest.approx(regression, rel=1e-6)
    assert terms["margin"].item() == pytest.approx(margin, rel=1e-6)
    assert not any(term.requires_grad for term in terms.values())


def test_flip_doubling_doubles_the_set(monkeypatch):
    seen = []

    class Spy(KrrPredictor):
        def __init__(self, features: Tensor, targets: Tensor, *rest: object) -> None:
            seen.append((features, targets))
            super().__init__(features, targets, *rest)

    monkeypatch.setattr(frepo, "KrrPredictor", Spy)
    for channels, expected in ((1, 6), (3, 12)):  # by itself for 3 channels only
        work = built(frepo.Settings(**SMALL), where=context(images(channels=channels)))
        work.backward(0, generator(5))
        assert [len(v) for v in seen.pop()] == [expected, expected]
        assert work.objective.flip == (channels == 3)
    work.backward(0, generator(5))
    s, y = seen.pop()
    net = work.objective._drawn.net
    assert torch.allclose(s[6:], net.embed(work.synthetic.pixels.flip(3)), atol=1e-6)
    assert torch.equal(y[6:], y[:6])


def test_no_gradient_reaches_the_networks_and_their_statistics_stay():
    work = built(frepo.Settings(**SMALL))
    before = [{k: v.clone() for k, v in member.net.state_dict().items()} for member in work.objective.pool]
    work.backward(0, generator(5))
    assert all(p.grad is None for member in work.objective.pool for p in member.net.parameters())
    assert same(before, [member.net.state_dict() for member in work.objective.pool])
    assert all(p.grad.abs().sum() > 0 for p in work.synthetic.parameters())


def test_chunks_and_hard_labels():
    whole, pieces = (gradients(built(frepo.Settings(**SMALL, chunk=chunk))) for chunk in (None, 4))
    for a, b in zip(whole, pieces, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    hard = built(frepo.Settings(**SMALL), soft=False)
    assert list(hard.backward(0, generator(5))) == ["regression"]
    soft = built(frepo.Settings(**SMALL))
    with torch.no_grad():
        soft.synthetic.soft.copy_(centred(soft.synthetic.labels, CLASSES))
    loss = [work.backward(0, generator(5))["regression"].item() for work in (hard, soft)]
    assert loss[0] == pytest.approx(loss[1], rel=1e-5)


def test_margin_counts_up_to_one_over_classes():
    labels = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.3, 0.0]], requires_grad=True)
    loss = frepo.label_margin(labels)
    assert loss.item() == pytest.approx(-(1 / 3 + 0.2) / 2)
    loss.backward()
    assert torch.allclose(labels.grad, torch.tensor([[0.0, 0, 0], [-0.5, 0.5, 0]]))
    assert "margin" not in built(frepo.Settings(**SMALL, margin=0)).backward(0, generator(5))


def test_augmentation_treats_both_sides_alike():
    mirror = Dsa(Augmentation(ops=("flip",), flip=1.0))
    data = images()
    mirrored = ImageData(data.images.flip(3), data.labels, data.classes, data.name)
    plain, augmented = (built(frepo.Settings(**SMALL), where=context(data, a)) for a in (None, mirror))
    other = built(frepo.Settings(**SMALL), where=context(mirrored))
    with torch.no_grad():
        other.synthetic.pixels.copy_(plain.synthetic.pixels.flip(3))
    losses = [w.backward(0, generator(5))["regression"].item() for w in (augmented, other, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] != pytest.approx(losses[2], rel=1e-4)


# The pool


def test_counters_are_staggered_and_networks_start_anew_past_k():
    work = built(frepo.Settings(**{**SMALL, "pool": 5, "updates": 10}))
    pool = work.objective.pool
    assert [member.updates for member in pool] == [0, 2, 4, 6, 8]
    work = built(frepo.Settings(**{**SMALL, "pool": 1, "updates": 2}))
    member, counts, nets = work.objective.pool[0], [], []
    for step in range(5):
        g = generator(5, step)
        work.backward(step, g)
        work.after(step, g)
        counts.append(member.updates)
        nets.append(member.net.head.weight.detach().clone())
    assert counts == [1, 2, 3, 0, 1]
    assert not torch.equal(nets[3], nets[2])
    assert int(member.net.body[3].num_batches_tracked) == 1
    assert [s["step"].item() for s in member.optimizer.state.values()] == [1] * len(list(member.net.parameters()))


def test_an_online_step_is_adam_on_the_squared_error():
    work = built(frepo.Settings(**SMALL))
    g = generator(5)
    work.backward(0, g)
    member = work.objective._drawn
    twin = network("frepo3", IMAGE, CLASSES, 4).train()
    twin.load_state_dict(member.net.state_dict())
    optimizer = torch.optim.Adam(twin.parameters(), 1e-2)
    error = twin(work.synthetic.pixels.detach()) - work.synthetic.soft.detach()
    (0.5 * error.square().sum(1)).mean().backward()
    optimizer.step()
    grads = [p.grad.clone() for p in work.synthetic.parameters()]
    work.after(0, g)
    for key, value in twin.state_dict().items():
        assert torch.allclose(member.net.state_dict()[key], value, atol=1e-6), key
    assert not member.net.training
    assert all(torch.equal(p.grad, k) for p, k in zip(work.synthetic.parameters(), grads, strict=True))


def test_online_batches_are_parts_of_the_set(monkeypatch):
    work = built(frepo.Settings(**SMALL, online_batch=4))
    sizes = []
    monkeypatch.setattr(frepo.OnlineNetwork, "step", lambda self, x, y: sizes.append((len(x), len(y))))
    g = generator(5)
    work.backward(0, g)
    work.after(0, g)
    assert sizes == [(4, 4)]


# ISA


@pytest.mark.parametrize("epsilon", [1e-3, 0.4, 1.0])
def test_equation_7_is_the_integral(epsilon):
    z, other, weights = features(6, 5), features(6, 5, seed=1), features(5, 3, seed=2)
    y, other_y = features(6, 3, seed=3), features(6, 3, seed=4)
    nodes, shares = np.polynomial.legendre.leggauss(8)
    expected = torch.zeros(6, dtype=torch.float64)
    for node, share in zip(nodes, shares, strict=True):
        alpha = epsilon * (node + 1) / 2
        between = (z + alpha * (other - z)) @ weights - (y + alpha * (other_y - y))  # Eq. 6
        expected += share / 2 * between.square().sum(1)
    a = z @ weights - y
    b = (other - z) @ weights - (other_y - y)
    assert torch.allclose(isa.interpolation_loss(a, b, epsilon), expected, rtol=1e-10, atol=0)
    assert torch.allclose(isa.interpolation_loss(a, b, epsilon, half=True), expected / 2, rtol=1e-10, atol=0)
    assert torch.equal(isa.interpolation_loss(a, b, 0.0), a.square().sum(1))


def test_the_easiest_samples_are_dropped():
    losses = torch.tensor([3.0, 1.0, 1.0, 5.0, 0.5, 1.0])
    assert isa.crucial(losses, 0).tolist() == [0, 1, 2, 3, 4, 5]
    assert isa.crucial(losses, 0.3).tolist() == [0, 1, 2, 3, 5]  # floor(1.8)
    assert isa.crucial(losses, 0.5).tolist() == [0, 3, 5]  # of equal losses the earlier ones
    assert isa.crucial(losses, 0.999).tolist() == [3]
    assert len(isa.crucial(torch.rand(1024), 0.2)) == 1024 - 204
    assert len(isa.crucial(torch.rand(100), 0.29)) == 71  # 0.29 * 100 < 29 in floating point
    assert isa.crucial(torch.tensor([1.0, math.nan, 2.0]), 0.7).tolist() == [1]
    for bad in (1.0, -0.1):
        with pytest.raises(FormatError, match="expected"):
            isa.crucial(losses, bad)


def test_isa_is_equation_7_over_the_hardest_samples():
    work = built(isa.Settings(**SMALL, isa=isa.IsaSettings(drop=0.4, epsilon=0.5)))
    residuals = features(10, CLASSES)
    loss = 0.5 * residuals.square().sum(1)
    kept = sorted(range(10), key=lambda n: -loss[n])[:6]
    kept = [residuals[n] for n in sorted(kept)]
    expected = 0.0
    for n, a in enumerate(kept):
        b = kept[(n + 1) % 6] - a
        expected += 0.5 * float(a @ a + 0.5 * a @ b + 0.25 / 3 * b @ b) / 6
    assert work.objective.outer(residuals).item() == pytest.approx(expected, rel=1e-12)
    unhalved = isa.IsaSettings(drop=0.4, epsilon=0.5, half=False)
    other = built(isa.Settings(**SMALL, isa=unhalved))
    assert other.objective.outer(residuals).item() == pytest.approx(2 * expected, rel=1e-12)


def test_isa_without_drop_and_epsilon_is_frepo_bit_for_bit():
    plain = built(frepo.Settings(**SMALL))
    same_way, changed = (
        built(isa.Settings(**SMALL, isa=isa.IsaSettings(drop=drop, epsilon=epsilon)))
        for drop, epsilon in ((0, 0), (0.2, 1))
    )
    schedule = Schedule(steps=6, optimizer="lamb")
    terms = [optimise(work, schedule, seed=1) for work in (plain, same_way, changed)]
    assert terms[0] == terms[1]
    assert same(plain.state_dict(), same_way.state_dict())
    assert terms[0] != terms[2]


def test_isas_defaults_are_the_papers():
    settings = isa.Settings()
    assert (settings.name, settings.isa.drop, settings.isa.epsilon, settings.pool) == ("isa", 0.2, 1.0, 10)
    assert (frepo.Settings().name, frepo.Settings().refuses.keys()) == ("frepo", settings.refuses.keys())


def test_isa_on_dm():
    real, centre = features(10, 4), features(4, seed=1)
    far = sorted(range(10), key=lambda n: -float((real[n] - centre).square().sum()))[:7]
    assert torch.allclose(isa.crucial_mean(real, centre, 0.3), real[far].mean(0))
    assert torch.allclose(isa.crucial_mean(real, centre, 0), real.mean(0))
    # why DM has no epsilon: interpolating between a class's samples leaves the gradient as it is
    centre.requires_grad_()
    steps = -(real.roll(-1, 0) - real)
    pulls = []
    for epsilon in (0.0, 1.0):
        loss = isa.interpolation_loss(centre - real, steps, epsilon).mean()
        pulls.append(torch.autograd.grad(loss, centre)[0])
    assert torch.allclose(*pulls, rtol=1e-12)
    assert torch.allclose(pulls[0], 2 * (centre - real.mean(0)), rtol=1e-12)


# Whole runs


def spied(method, seen):
    def wrapper(self, seed):
        seen.append(seed)
        method(self, seed)

    return wrapper


def total(work: Distillation) -> float:
    """The regression loss over all real images, mean over the pool."""
    objective, x, y = work.objective, work.synthetic.images(), work.synthetic.targets()
    y = centred(work.synthetic.labels, CLASSES) if y is None else y
    data = objective.context.data
    with torch.no_grad():
        errors = [
            krr_predict(m.net.embed(x), y, m.net.embed(data.raw())) - centred(data.labels, CLASSES)
            for m in objective.pool
        ]
    return torch.stack([frepo.half_square(e).mean() for e in errors]).mean().item()


@pytest.mark.parametrize("settings", [frepo.Settings, isa.Settings])
def test_a_few_steps_lower_the_loss(settings):
    work = built(settings(**{**SMALL, "updates": 100, "batch": 36, "online_lr": 1e-3}), per_class=1)
    before = total(work)
    optimise(work, Schedule(steps=40, optimizer="adam"), seed=0)
    assert total(work) < 0.7 * before


def test_it_runs_on_decoded_sets():
    data = images()
    torch.manual_seed(0)
    config = Config(decoders=2, channels=(2, 2))
    made = Kfs(torch.randn(3, 2, 2, 2), torch.arange(3), decoder("kfs", config, IMAGE, CLASSES), Raw())
    work = Distillation(frepo.Settings(**{**SMALL, "updates": 100}).build(context(data), made), made)
    assert len(made.labels) == 6
    before = total(work)
    optimise(work, Schedule(steps=30), seed=0)
    assert total(work) < before


@pytest.mark.parametrize("settings", [frepo.Settings, isa.Settings])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, monkeypatch, settings):
    schedule = Schedule(steps=12, optimizer="lamb", final=0.1)
    chosen = settings(**{**SMALL, "online_batch": 4})
    began = []
    monkeypatch.setattr(frepo.OnlineNetwork, "begin", spied(frepo.OnlineNetwork.begin, began))
    straight = built(chosen)
    optimise(straight, schedule, seed=3)
    assert len(began) > SMALL["pool"]  # some started anew
    assert max(member.updates for member in straight.objective.pool) > 0

    def interrupt(step, terms):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        optimise(built(chosen), schedule, seed=3, run=Run(tmp_path, on_step=interrupt))
    torch.manual_seed(99)
    resumed = built(chosen)
    optimise(resumed, schedule, seed=3, run=Run(tmp_path, resume=True))
    assert same(straight.state_dict(), resumed.state_dict())
    assert not same(straight.synthetic.state_dict(), built(chosen).synthetic.state_dict())


def test_features_that_are_nan_stop_the_run():
    work = built(frepo.Settings(**{**SMALL, "pool": 1}))
    with torch.no_grad():
        work.objective.pool[0].net.body[0].weight.fill_(torch.nan)
    with pytest.raises(DsetpackError, match="step 0: regression is nan"):
        optimise(work, Schedule(steps=2), seed=0)


def test_one_class_is_refused():
    data = images()
    single = ImageData(data.images, torch.zeros_like(data.labels), ("all",), "bars")
    with pytest.raises(FormatError, match="bars has 1 class"):
        frepo.Settings(**SMALL).build(context(single), None)

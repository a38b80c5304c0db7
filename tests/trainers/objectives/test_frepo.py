"""FRePo against numpy and direct computation, and whole runs of it and of ISA."""

import os
import signal

import numpy as np
import pytest
import torch
from torch import Tensor

from dsetpack.decoders import decoder
from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.spaces import Raw
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.krr import KrrPredictor, centred, krr_predict
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import frepo, isa
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.parameterizations.kfs import Kfs
from dsetpack.trainers.seeds import generator
from dsetpack.training.augment import Dsa
from tests.support.frepo_cases import CLASSES, IMAGE, SMALL, built, context, images, same


def gradients(work: Distillation) -> list[Tensor]:
    work.synthetic.zero_grad()
    work.backward(0, generator(5))
    return [p.grad.clone() for p in work.synthetic.parameters()]


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
    work = built(frepo.FrepoSettings(**SMALL, flip=flip))
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
    for channels, expected in ((1, 6), (3, 12)):  # the default doubles only for 3 channels
        work = built(frepo.FrepoSettings(**SMALL), where=context(images(channels=channels)))
        work.backward(0, generator(5))
        assert [len(v) for v in seen.pop()] == [expected, expected]
        assert work.objective.flip == (channels == 3)
    work.backward(0, generator(5))
    s, y = seen.pop()
    net = work.objective._drawn.net
    assert torch.allclose(s[6:], net.embed(work.synthetic.pixels.flip(3)), atol=1e-6)
    assert torch.equal(y[6:], y[:6])


def test_no_gradient_reaches_the_networks_and_their_statistics_stay():
    work = built(frepo.FrepoSettings(**SMALL))
    before = [{k: v.clone() for k, v in member.net.state_dict().items()} for member in work.objective.pool]
    work.backward(0, generator(5))
    assert all(p.grad is None for member in work.objective.pool for p in member.net.parameters())
    assert same(before, [member.net.state_dict() for member in work.objective.pool])
    assert all(p.grad.abs().sum() > 0 for p in work.synthetic.parameters())


def test_chunks_and_hard_labels():
    whole, pieces = (gradients(built(frepo.FrepoSettings(**SMALL, chunk=chunk))) for chunk in (None, 4))
    for a, b in zip(whole, pieces, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    hard = built(frepo.FrepoSettings(**SMALL), soft=False)
    assert list(hard.backward(0, generator(5))) == ["regression"]
    soft = built(frepo.FrepoSettings(**SMALL))
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
    assert "margin" not in built(frepo.FrepoSettings(**SMALL, margin=0)).backward(0, generator(5))


def test_augmentation_treats_both_sides_alike():
    mirror = Dsa(Augmentation(ops=("flip",), flip=1.0))
    data = images()
    mirrored = ImageData(data.images.flip(3), data.labels, data.classes, data.name)
    plain, augmented = (built(frepo.FrepoSettings(**SMALL), where=context(data, a)) for a in (None, mirror))
    other = built(frepo.FrepoSettings(**SMALL), where=context(mirrored))
    with torch.no_grad():
        other.synthetic.pixels.copy_(plain.synthetic.pixels.flip(3))
    losses = [w.backward(0, generator(5))["regression"].item() for w in (augmented, other, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] != pytest.approx(losses[2], rel=1e-4)


# The pool


def test_counters_are_staggered_and_networks_start_anew_past_k():
    work = built(frepo.FrepoSettings(**{**SMALL, "pool": 5, "updates": 10}))
    pool = work.objective.pool
    assert [member.updates for member in pool] == [0, 2, 4, 6, 8]
    work = built(frepo.FrepoSettings(**{**SMALL, "pool": 1, "updates": 2}))
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
    work = built(frepo.FrepoSettings(**SMALL))
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
    work = built(frepo.FrepoSettings(**SMALL, online_batch=4))
    sizes = []
    monkeypatch.setattr(frepo.OnlineNetwork, "step", lambda self, x, y: sizes.append((len(x), len(y))))
    g = generator(5)
    work.backward(0, g)
    work.after(0, g)
    assert sizes == [(4, 4)]


# Whole runs


def spied(method, seen):
    def wrapper(self, seed):
        seen.append(seed)
        method(self, seed)

    return wrapper


def total(work: Distillation) -> float:
    """The regression loss over all real images, averaged over the pool."""
    objective, x, y = work.objective, work.synthetic.images(), work.synthetic.targets()
    y = centred(work.synthetic.labels, CLASSES) if y is None else y
    data = objective.context.data
    with torch.no_grad():
        errors = [
            krr_predict(m.net.embed(x), y, m.net.embed(data.raw())) - centred(data.labels, CLASSES)
            for m in objective.pool
        ]
    return torch.stack([frepo.half_square(e).mean() for e in errors]).mean().item()


@pytest.mark.parametrize("settings", [frepo.FrepoSettings, isa.FrepoIsaSettings])
def test_a_few_steps_lower_the_loss(settings):
    work = built(settings(**{**SMALL, "updates": 100, "batch": 36, "online_lr": 1e-3}), per_class=1)
    before = total(work)
    optimise(work, Schedule(steps=40, optimizer="adam"), seed=0)
    assert total(work) < 0.7 * before


def test_it_runs_on_decoded_sets():
    data = images()
    torch.manual_seed(0)
    config = KfsConfig(decoders=2, channels=(2, 2))
    made = Kfs(torch.randn(3, 2, 2, 2), torch.arange(3), decoder("kfs", config, IMAGE, CLASSES), Raw())
    work = Distillation(frepo.FrepoSettings(**{**SMALL, "updates": 100}).build(context(data), made), made)
    assert len(made.labels) == 6
    before = total(work)
    optimise(work, Schedule(steps=30), seed=0)
    assert total(work) < before


@pytest.mark.parametrize("settings", [frepo.FrepoSettings, isa.FrepoIsaSettings])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, monkeypatch, settings):
    schedule = Schedule(steps=12, optimizer="lamb", final=0.1)
    chosen = settings(**{**SMALL, "online_batch": 4})
    began = []
    monkeypatch.setattr(frepo.OnlineNetwork, "begin", spied(frepo.OnlineNetwork.begin, began))
    straight = built(chosen)
    optimise(straight, schedule, seed=3)
    assert len(began) > SMALL["pool"]  # some were started again
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
    work = built(frepo.FrepoSettings(**{**SMALL, "pool": 1}))
    with torch.no_grad():
        work.objective.pool[0].net.body[0].weight.fill_(torch.nan)
    with pytest.raises(DsetpackError, match="step 0: regression is nan"):
        optimise(work, Schedule(steps=2), seed=0)


def test_one_class_is_refused():
    data = images()
    single = ImageData(data.images, torch.zeros_like(data.labels), ("all",), "bars")
    with pytest.raises(FormatError, match="bars has 1 class"):
        frepo.FrepoSettings(**SMALL).build(context(single), None)

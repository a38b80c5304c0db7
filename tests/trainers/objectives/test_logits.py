"""DiM's second stage: logit matching against plain computations."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import FormatError
from dsetpack.trainers import parameterizations
from dsetpack.trainers.context import Context
from dsetpack.trainers.gan import Adversary, real_batch
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.objectives.logits import LogitMatching, LogitsSettings, Teacher, distance
from dsetpack.training.augment import Dsa
from tests.support.dim_cases import CLASSES, IMAGE, NORMALIZED, TINY, context, drawn, images, logits, same

pytestmark = pytest.mark.usefixtures("one_thread")


def test_distances_are_plain_computations():
    net = network("convnet3", IMAGE, CLASSES, 4, seed=0).double()
    real, fake = torch.rand(2, 6, *IMAGE, generator=drawn(), dtype=torch.float64)
    y = torch.arange(6) % 2
    a, b = net(real).tolist(), net(fake).tolist()
    squares = [(u - v) ** 2 for r, f in zip(a, b, strict=True) for u, v in zip(r, f, strict=True)]
    assert distance("logits", net, real, fake, y).item() == pytest.approx(sum(squares) / 12, rel=1e-9)

    def log_softmax(row: list[float]) -> list[float]:
        return [v - math.log(sum(map(math.exp, row))) for v in row]

    squares = [
        (u - v) ** 2 for r, f in zip(a, b, strict=True) for u, v in zip(log_softmax(r), log_softmax(f), strict=True)
    ]
    assert distance("log-softmax", net, real, fake, y).item() == pytest.approx(sum(squares) / 12, rel=1e-9)
    gap = sum(abs(net.embed(real)[:, n].mean() - net.embed(fake)[:, n].mean()).item() for n in range(net.features))
    assert distance("features", net, real, fake, y).item() == pytest.approx(gap, rel=1e-9)

    def gradients(x: Tensor) -> list[Tensor]:
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()
        return [layer.weight.grad.clone() for layer in net.body if isinstance(layer, nn.Conv2d)]

    gap = sum((u - v).abs().sum().item() for u, v in zip(gradients(real), gradients(fake), strict=True))
    assert distance("gradients", net, real, fake, y).item() == pytest.approx(gap, rel=1e-9)


@pytest.mark.parametrize("matching", ["logits", "log-softmax", "features", "gradients"])
def test_every_distance_pulls_on_the_drawn_images(matching):
    net = network("convnet3", IMAGE, CLASSES, 4, seed=0).double()
    real, fake = torch.rand(2, 4, *IMAGE, generator=drawn(), dtype=torch.float64)
    y, way = torch.tensor([0, 1, 1, 0]), torch.randn(fake.shape, generator=drawn(1), dtype=torch.float64)
    fake.requires_grad_()
    (found,) = torch.autograd.grad(distance(matching, net, real, fake, y), fake)
    ahead, behind = (distance(matching, net, real, (fake + s * 1e-6 * way).detach(), y) for s in (1, -1))
    assert (found * way).sum().item() == pytest.approx((ahead - behind).item() / 2e-6, rel=1e-4)


def test_networks_are_redrawn_each_epoch():
    teacher = Teacher(logits(), context())
    kinds, weights = [], []
    for epoch in range(12):
        net = teacher.at(epoch)
        assert teacher.at(epoch) is net  # the network stays for the epoch
        assert not teacher.optimizer.state
        teacher.learn(drawn(epoch))
        assert teacher.optimizer.state
        kinds.append(len(list(net.parameters())))
        weights.append(net.head.weight.detach().sum().item())
    assert len(set(kinds)) == 2  # both networks of the pool
    assert len(set(weights)) == 12
    again = Teacher(logits(), context())
    again.at(11)
    again.learn(drawn(11))
    assert same(again.network, teacher.network)


def test_networks_learn_the_real_images():
    data = images()
    settings = logits(networks=("resnetap10",), real_steps=30, augmentation="none")
    teacher = Teacher(settings, context(space=NORMALIZED))
    teacher.learn(drawn())
    guess = teacher.network(NORMALIZED.apply(data.raw())).argmax(1)
    assert (guess == data.labels).all()


def test_a_step_is_eq_7(monkeypatch):
    """The generator's gradient is that of L_g + λ · MSE; here neither the networks nor the critic learn."""
    where = context(space=NORMALIZED)
    where = Context(**{**vars(where), "augment": Dsa(Augmentation(ops=("crop", "cutout"), mode="all"))})
    settings = logits(real_steps=0, weight=3.0, networks=("convnet3",))
    made = TINY.build(where)
    adversary = Adversary(settings.gan, IMAGE, CLASSES, 4, seed=0)
    work = LogitMatching(settings, where, adversary)
    monkeypatch.setattr(adversary, "learn", lambda *_: torch.tensor(0.5))
    terms = work.backward(made, 0, drawn())
    found = [p.grad.clone() for p in made.learned]
    assert not any(p.grad is not None for p in [*work.teacher.network.parameters(), *adversary.critic.parameters()])
    generator = drawn()
    x, y = real_batch(where.data, 8, generator)
    fake = made.raw(y, generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    both = where.augment((torch.cat([x, fake]) - 0.5) / 0.25, seed, siamese=True)  # one draw for both sides
    net = work.teacher.network
    matching = 3 * (net(both[8:]) - net(both[:8]).detach()).square().mean()
    made.zero_grad()
    (matching + sum(adversary.judge(fake, y).values())).backward()
    for a, p in zip(found, made.learned, strict=True):
        assert torch.allclose(a, p.grad, rtol=1e-3, atol=1e-5)
    assert terms["matching"].item() == pytest.approx(matching.item(), rel=1e-4)
    assert terms["critic"].item() == 0.5


def test_weights_of_the_matching():
    assert LogitsSettings().share == 0.01
    assert LogitsSettings(matching="gradients").share == 0.001
    assert LogitsSettings(matching="features", weight=0.2).share == 0.2


@pytest.mark.slow
@pytest.mark.parametrize("matching", ["logits", "log-softmax", "features", "gradients"])
def test_stage_2_lowers_its_loss(matching, monkeypatch):
    """Measured on all real images and as many drawn ones, with a fixed network that knows the classes."""
    where = context(space=NORMALIZED)
    settings = logits(matching=matching, weight=1000, epoch_steps=60, batch=16, networks=("resnetap10",))
    made = TINY.model_copy(update={"lr": 1e-2}).build(where)
    objective = settings.build(where, made)
    for _ in range(10):
        objective.teacher.learn(drawn())
    monkeypatch.setattr(objective.teacher, "learn", lambda _: None)

    def gap() -> float:
        y = where.data.labels
        return distance(matching, objective.teacher.network, where.real, made.draw(y, drawn(9)), y).item()

    before = gap()
    optimise(Distillation(objective, made), Schedule(steps=60, betas=(0.0, 0.9)), seed=0)
    assert gap() < 0.9 * before


def test_other_parameterizations_are_refused():
    assert set(LogitsSettings.refuses) == set(parameterizations.known()) - {"generator"}
    with pytest.raises(FormatError, match="logits on Module: a GAN and matching by label need a generator"):
        logits().build(context(), nn.Module())

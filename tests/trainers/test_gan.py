"""DiM: generator, GAN and logit matching against closed forms and plain computations; exact resume of both stages."""

import math
import os
import signal
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

import dsetpack
from dsetpack.formats.card import Augmentation, NormalizedSpace
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.order import philox
from dsetpack.spaces import Normalized, Raw, Space
from dsetpack.trainers import parameterizations
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.gan import Adversary, Critic, Gan, GanSettings, gradient_penalty, real_batch
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.objectives.logits import LogitMatching, LogitsSettings, Teacher, distance
from dsetpack.trainers.parameterizations.generator import Generator, GeneratorSettings
from dsetpack.training.augment import Dsa

IMAGE, CLASSES = (1, 8, 8), 2
TINY = GeneratorSettings(width=6, noise=8, per_class=3, lr=1e-3)
NORMALIZED = Normalized(NormalizedSpace(mean=(0.5,), std=(0.25,)))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The same sums on every machine, and no threads that wait for each other over tiny images."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images() -> ImageData:
    """Stripes two pixels wide, lying or standing."""
    noise = torch.randint(0, 40, (40, *IMAGE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    y = torch.arange(40) % CLASSES
    lying = (torch.arange(8) // 2 % 2 * 200)[:, None].expand(8, 8)
    x = noise + torch.stack([lying, lying.T])[y][:, None].to(torch.uint8)
    return ImageData(x, y, ("lying", "standing"), "stripes")


def context(folder: Path | None = None, *, space: Space | None = None, **run: object) -> Context:
    return Context(
        data=images(),
        space=space or Raw(),
        ipc=5,
        seed=3,
        cache=Path("unused"),
        run=lambda phase: Run(folder, phase, **run),
        augment=None,
    )


def gan(**changes: object) -> GanSettings:
    return GanSettings(**{"steps": 4, "batch": 8, "width": 4, "lr": 2e-3, **changes})


def logits(**changes: object) -> LogitsSettings:
    usual = {
        "gan": gan(),
        "networks": ("convnet3", "resnetap10"),
        "network_width": 4,
        "batch": 8,
        "real_steps": 2,
        "epoch_steps": 2,
        "lr_critic": 1e-3,
    }
    return LogitsSettings(**{**usual, **changes})


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# The generator


def test_the_papers_generator_has_3559363_parameters():
    settings = GeneratorSettings()
    shapes = settings.config((3, 32, 32)).bank_shapes((3, 32, 32), 10)
    learned = sum(math.prod(shape) for name, shape in shapes.items() if "running" not in name)
    assert learned == 3_559_363
    budget = settings.budget((3, 32, 32), 10, 1)
    assert budget.allowed == 30_720
    assert budget.used == 3_559_363 + 2 * (16 * 196 + 7 * 196)
    assert budget.used // budget.allowed == 116
    assert settings.budget((3, 32, 32), 10, 50).decoder_floats == budget.used  # whatever the budget
    made = TINY.build(context())
    assert made.floats() == TINY.budget(IMAGE, CLASSES, 5).used
    assert sum(p.numel() for p in made.parameters()) == made.floats() - 2 * (16 * 6 + 4 * 6)


def test_it_is_built_from_the_seed_alone():
    torch.manual_seed(1)
    first = TINY.build(context())
    torch.manual_seed(2)
    assert same(first, TINY.build(context()))
    assert first.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert first.per_class == 3
    assert GeneratorSettings(width=2, noise=8).build(context()).per_class == 5  # the budget's
    assert [(g["name"], g["lr"], len(g["params"])) for g in first.groups()] == [("generator", 1e-3, 22)]


def test_settings_that_make_no_generator():
    with pytest.raises(ValidationError, match="a generator stores none"):
        GeneratorSettings(sources=3)
    with pytest.raises(FormatError, match="2 noise entries for 2 classes"):
        GeneratorSettings(noise=2).build(context())


def test_labels_enter_as_the_one_hot():
    made = TINY.build(context())
    seen = []
    made.bank.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    labels = torch.tensor([1, 0, 1])
    made.draw(labels, drawn(4))
    noise = torch.randn(3, 8, generator=drawn(4))
    assert torch.equal(seen[0][:, :2], F.one_hot(labels, 2).float())
    assert torch.equal(seen[0][:, 2:], noise[:, 2:])


def test_drawing_uses_batch_statistics_and_moves_the_running_ones():
    made = TINY.build(context(space=NORMALIZED))
    labels = torch.tensor([0, 1, 0, 1])
    first = made.draw(labels, drawn())
    assert first.shape == (4, *IMAGE)
    assert first.requires_grad
    norm = made.bank.fc_norm
    before = made.bank.fc(made.bank.condition(torch.randn(4, 8, generator=drawn()), labels))
    assert torch.allclose(norm.running_mean, 0.1 * before.mean(0), atol=1e-6)
    assert torch.equal(made.draw(labels, drawn()), first)  # the running ones do not count while training
    assert torch.allclose((first * 0.25 + 0.5), made.raw(labels, drawn()), atol=1e-6)
    assert made.eval().draw(labels, drawn()).sub(first).abs().max() > 1e-3


def test_a_pack_decodes_what_the_generator_makes_of_its_running_statistics():
    made = TINY.build(context(space=NORMALIZED))
    for seed in range(3):
        made.draw(torch.arange(20) % 2, drawn(seed))
    card = dsetpack.Card(title="x", classes=("a", "b"), shape=IMAGE, space=made.space.model, per_class=3)
    pack = dsetpack.open(dsetpack.Pack(card, made.parts()).to_bytes())
    x, y = pack.decode([4, 0, 5], seed=7, epoch=2)
    assert y.tolist() == [1, 0, 1]
    noise = torch.from_numpy(philox.noise(7, 2, [4, 0, 5], 8))
    state = {key: value.clone() for key, value in made.state_dict().items()}
    expected = made.eval().bank.unchecked_one(made.bank.condition(noise, y), 0)
    assert torch.allclose(x, (expected - 0.5) / 0.25, atol=1e-5)
    made.train()
    assert torch.allclose(made.images(torch.tensor([4, 0, 5])), pack.decode([4, 0, 5])[0], atol=1e-5)
    assert torch.allclose(made.images(), pack.decode(range(6))[0], atol=1e-5)
    assert made.bank.training
    assert all(torch.equal(value, state[key]) for key, value in made.state_dict().items())  # previews change nothing


def test_parts_are_copies():
    made = TINY.build(context())
    part = made.parts()[0]
    with torch.no_grad():
        made.bank.fc.weight.zero_()
    assert part.sources is None
    assert part.decoder.fc.weight.abs().sum() > 0
    assert not part.decoder.training


# The GAN


def test_gradient_penalty_of_a_linear_critic():
    """score = w·x: the gradient is w at every point, so penalty and its gradient follow from ‖w‖."""
    w = torch.randn(48, generator=drawn(), dtype=torch.float64).requires_grad_()
    real, fake = torch.randn(2, 5, 3, 4, 4, generator=drawn(1), dtype=torch.float64)
    found = gradient_penalty(lambda x: x.flatten(1) @ w, real, fake, torch.rand(5, dtype=torch.float64))
    size = w.detach().norm()
    assert found.item() == pytest.approx((size.item() - 1) ** 2, rel=1e-12)
    found.backward()
    assert torch.allclose(w.grad, 2 * (size - 1) * w.detach() / size, rtol=1e-12)


def test_gradient_penalty_is_taken_between_real_and_drawn_images():
    """score = ‖x‖² / 2: the gradient is the point itself."""
    real, fake = torch.randn(2, 4, 1, 3, 3, generator=drawn(1), dtype=torch.float64)
    mix = torch.tensor([0.0, 1.0, 0.25, 0.6], dtype=torch.float64)
    found = gradient_penalty(lambda x: x.square().sum((1, 2, 3)) / 2, real, fake, mix)
    points = [share * r + (1 - share) * f for share, r, f in zip(mix, real, fake, strict=True)]
    assert found.item() == pytest.approx(sum((p.norm().item() - 1) ** 2 for p in points) / 4, rel=1e-12)


def test_the_critic_is_the_releases():
    assert sum(p.numel() for p in Critic((3, 32, 32), 10, 196).parameters()) == 3_137_971
    made = Critic((1, 28, 28), 10, 4)
    assert [m.normalized_shape[1:] for m in made.modules() if isinstance(m, nn.LayerNorm)] == [
        (side, side) for side in (28, 14, 14, 7, 7, 7, 7, 4)
    ]
    for image in ((1, 28, 28), (3, 12, 20), (1, 7, 7)):
        score, classes = Critic(image, 5, 3)(torch.rand(2, *image))
        assert score.shape == (2,)
        assert classes.shape == (2, 5)


def critic_loss(adversary: Adversary, made: Generator, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """What the critic minimises, written out."""
    others = torch.randint(2, (len(y),), generator=generator)
    fake = made.raw(others, generator).detach() * 2 - 1
    real = x * 2 - 1
    (s_real, c_real), (s_fake, c_fake) = adversary.critic(real), adversary.critic(fake)
    classes = F.cross_entropy(c_real, y) + F.cross_entropy(c_fake, others)
    if adversary.settings.loss == "plain":
        game = F.binary_cross_entropy_with_logits(s_real, torch.ones(len(y)))
        return game + F.binary_cross_entropy_with_logits(s_fake, torch.zeros(len(y))) + classes
    mix = torch.rand(len(y), generator=generator).view(-1, 1, 1, 1)
    at = (mix * real + (1 - mix) * fake).requires_grad_()
    norms = [torch.autograd.grad(adversary.critic(at)[0][n], at)[0][n].norm() for n in range(len(y))]
    return s_fake.mean() - s_real.mean() + classes + 10 * sum((n - 1) ** 2 for n in norms) / len(norms)


@pytest.mark.parametrize("loss", ["acgan-wgan-gp", "plain"])
def test_both_sides_of_the_game(loss):
    made = TINY.build(context())
    adversary = Adversary(gan(loss=loss), IMAGE, CLASSES, 4, seed=0)
    x, y = real_batch(images(), 8, drawn())
    expected = critic_loss(adversary, made, x, y, drawn(1))
    before = [p.clone() for p in adversary.critic.parameters()]
    assert adversary.learn(made, x, y, drawn(1)).item() == pytest.approx(expected.item(), rel=1e-4)
    assert any(not torch.equal(a, b) for a, b in zip(before, adversary.critic.parameters(), strict=True))
    fake = made.raw(y, drawn(2))
    terms = adversary.judge(fake, y)
    score, classes = adversary.critic(fake * 2 - 1)
    expected = -torch.log(torch.sigmoid(score)).mean() if loss == "plain" else -score.mean()
    assert terms["deceit"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert terms["classes"].item() == pytest.approx(F.cross_entropy(classes, y).item())


def test_the_generator_learns_what_the_critic_judges():
    work = Gan(TINY.build(context()), Adversary(gan(), IMAGE, CLASSES, 4, seed=0), images())
    terms = work.backward(0, drawn())
    assert list(terms) == ["critic", "deceit", "classes"]
    assert all(p.grad is not None for p in work.synthetic.learned)
    again = Gan(TINY.build(context()), work.adversary, images())  # the critic as it is after its step
    generator = drawn()
    _, y = real_batch(images(), 8, generator)
    torch.randint(2, (8,), generator=generator)  # what the critic's step has drawn
    torch.randn(8, 8, generator=generator)
    torch.rand(8, generator=generator)
    sum(again.adversary.judge(again.synthetic.raw(y, generator), y).values()).backward()
    for a, b in zip(work.synthetic.learned, again.synthetic.learned, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-7)


def test_stage_1_learns_classes():
    history = []
    made = TINY.build(context())
    adversary = Adversary(gan(lr=3e-3, batch=16), IMAGE, CLASSES, 6, seed=0)
    watch = Run(on_step=lambda _, terms: history.append(terms["classes"]))
    optimise(Gan(made, adversary, images()), Schedule(steps=200, betas=(0.0, 0.9)), seed=0, run=watch)
    assert sum(history[-20:]) < sum(history[:20]) / 2
    made.eval()
    y = torch.tensor([0] * 20 + [1] * 20)
    with torch.no_grad():
        _, named = adversary.critic(made.draw(y, drawn()) * 2 - 1)
    assert (named.argmax(1) == y).float().mean() > 0.9  # as a pack draws them, with running statistics


def test_a_critic_gone_wrong_is_named_and_not_kept(tmp_path):
    made, adversary = TINY.build(context()), Adversary(gan(penalty=1e38), IMAGE, CLASSES, 4, seed=0)
    before = [p.clone() for p in adversary.critic.parameters()]
    with pytest.raises(DsetpackError, match="step 0: critic is (nan|inf)"):
        optimise(Gan(made, adversary, images()), Schedule(steps=2), seed=0, run=Run(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(before, adversary.critic.parameters(), strict=True))


def test_lengths_of_stage_1():
    assert GanSettings().schedule(60_000).steps == 120 * 468
    assert GanSettings(batch=64).schedule(10).steps == 120
    assert GanSettings(steps=7).schedule(60_000).betas == (0.0, 0.9)


# Logit matching


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
        assert teacher.at(epoch) is net  # it stays for the epoch
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
    """The generator's gradient is that of L_g + λ · MSE, with the networks trained and the critic stepped before."""
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


@pytest.mark.parametrize("matching", ["logits", "log-softmax", "features", "gradients"])
def test_stage_2_lowers_its_loss(matching, monkeypatch):
    """On all real images and as many drawn ones, with a network that knows the classes and stays as it is."""
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


def test_the_critics_rate_changes_with_the_stage():
    made = TINY.build(context())
    objective = logits(lr_critic=5e-6).build(context(), made)
    assert [g["lr"] for g in objective.adversary.optimizer.param_groups] == [5e-6]


def test_other_parameterizations_are_refused():
    assert set(LogitsSettings.refuses) == set(parameterizations.known()) - {"generator"}
    with pytest.raises(FormatError, match="logits on Module: a GAN and matching by label need a generator"):
        logits().build(context(), nn.Module())


# Resume


def distill(folder: Path, resume: bool, stop: tuple[str, int] | None) -> Generator:
    """Both stages; interrupted after step ``stop[1]`` of phase ``stop[0]``."""

    def run(phase: str) -> Run:
        def on_step(step: int, terms: object) -> None:
            if stop == (phase, step):
                os.kill(os.getpid(), signal.SIGINT)

        return Run(folder, phase, resume=resume, on_step=on_step)

    where = Context(**{**vars(context()), "run": run})
    made = TINY.build(where)
    objective = logits().build(where, made)
    optimise(Distillation(objective, made), Schedule(steps=7, betas=(0.0, 0.9)), seed=1, run=run("match"))
    return made


@pytest.mark.parametrize("stop", [("gan", 1), ("gan", 3), ("match", 2), ("match", 3)])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, stop):
    straight = distill(tmp_path / "a", False, None)
    with pytest.raises(Interrupted):
        distill(tmp_path / "b", False, stop)
    torch.manual_seed(99)
    resumed = distill(tmp_path / "b", True, None)
    assert same(straight, resumed)
    ends = [torch.load(tmp_path / side / "match.pt", weights_only=True)["state"]["work"] for side in "ab"]
    for part in ("critic", "network"):
        kept = [end["objective"]["adversary" if part == "critic" else "teacher"][part] for end in ends]
        assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


def test_double_precision(tmp_path):
    made = TINY.build(context()).double()
    assert made.draw(torch.tensor([0, 1]), drawn()).dtype == torch.float64
    assert made.images().dtype == torch.float64

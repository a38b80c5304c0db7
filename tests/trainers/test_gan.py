"""DiM's first stage: the GAN and its game against closed forms and plain computations."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsetpack.formats.errors import DsetpackError
from dsetpack.trainers.gan import Adversary, Critic, Gan, GanSettings, gradient_penalty, real_batch
from dsetpack.trainers.loop import Run, Schedule, optimise
from dsetpack.trainers.parameterizations.generator import Generator
from tests.support.dim_cases import CLASSES, IMAGE, TINY, context, drawn, gan, images

pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.mark.slow
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

"""The conditional GAN that trains DiM's generator (Wang et al. 2023, section 3.3, completed by the released code).

The critic both scores an image and names its class (an auxiliary-classifier GAN); its scores are trained as a
Wasserstein critic with gradient penalty (Gulrajani et al. 2017). Each step is one of the critic, then one of the
generator. The critic sees images scaled to [-1, 1], independent of the pack's pixel space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import get_total_norm
from typing_extensions import override

from dsetpack.formats.model import Model
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.data.reader import Image
from dsetpack.trainers.loop import Beta, Group, Schedule, Terms, Trainable, optimise
from dsetpack.trainers.parameterizations.base import Positive
from dsetpack.trainers.parameterizations.generator import Generator
from dsetpack.trainers.seeds import derive

STRIDES = (1, 2, 1, 2, 1, 1, 1, 2)
"""The strides of the critic's convolutions."""

Rate = Annotated[float, Field(gt=0)]
Batch = Annotated[int, Field(ge=2)]
Score = Callable[[Tensor], Tensor]


class GanSettings(Model):
    """Settings of the training of generator and critic before anything is matched.

    Epochs and rate are the paper's, which states no more; the rest is the release's (which trains for 150 epochs). The
    release keeps the epoch that is best on the test images; here the last one counts. Inferred: batches are drawn at
    random from all images, while the release shuffles epochs.

    Attributes:
        loss: ``acgan-wgan-gp`` (released), or ``plain``: logistic, non-saturating, without a penalty. Both keep the
            loss of classes, without which a generator would ignore its labels.
        epochs: the length in passes over the real images.
        steps: the length in steps, instead of ``epochs``.
        batch, lr, betas: the batch size, and the learning rate and betas of both sides' Adam.
        penalty: the weight of the gradient penalty.
        auxiliary: the weight of the cross-entropy of classes, on real and on drawn images.
        width: the critic's channels; None for the generator's.
    """

    loss: Literal["acgan-wgan-gp", "plain"] = "acgan-wgan-gp"
    epochs: Positive = 120
    steps: Positive | None = None
    batch: Batch = 128
    lr: Rate = 1e-4
    betas: tuple[Beta, Beta] = (0.0, 0.9)
    penalty: Annotated[float, Field(ge=0)] = 10.0
    auxiliary: Annotated[float, Field(ge=0)] = 1.0
    width: Positive | None = None

    def schedule(self, images: int) -> Schedule:
        """The schedule for this number of real images."""
        steps = self.steps or self.epochs * max(1, images // self.batch)
        return Schedule(steps=steps, betas=self.betas)


class Critic(nn.Module):
    """Eight 3×3 convolutions with layer norm and leaky ReLU, the largest value of each map, and two linear heads.

    It has 3,137,971 parameters at 3×32×32, width 196 and 10 classes. For sides of 28 and 32, the release pools the last
    4×4 maps; for other sizes the last maps are pooled in the same way (our choice).
    """

    def __init__(self, image: Image, classes: int, width: int) -> None:
        super().__init__()
        channels, height, breadth = image
        layers: list[nn.Module] = []
        for stride in STRIDES:
            height, breadth = -(-height // stride), -(-breadth // stride)
            norm = nn.LayerNorm([width, height, breadth])
            layers += [nn.Conv2d(channels, width, 3, stride, 1), norm, nn.LeakyReLU()]
            channels = width
        self.body = nn.Sequential(*layers)
        self.score = nn.Linear(width, 1)
        self.classes = nn.Linear(width, classes)

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [B] and logits [B, classes] of images [B, C, H, W] in [-1, 1]."""
        features = self.body(x).amax((2, 3))
        return self.score(features)[:, 0], self.classes(features)


def gradient_penalty(score: Score, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """The mean over images of (‖gradient of the score‖ - 1)², at points between real and drawn images; differentiable.

    Args:
        score: maps images [B, C, H, W] to scores [B], each of which depends only on its own image.
        real, fake: real and drawn images, [B, C, H, W].
        mix: the share of ``real`` in each point, [B].
    """
    weight = mix.view(-1, 1, 1, 1)
    points = (weight * real + (1 - weight) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(points).sum(), points, create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (norm - 1).square().mean()


class Adversary:
    """The critic with its own Adam, and the losses of both sides of the game.

    Args:
        settings: the game's settings.
        image, classes, width: the critic's image shape, number of classes and width.
        seed: the seed of the critic's weights.
    """

    def __init__(self, settings: GanSettings, image: Image, classes: int, width: int, seed: int) -> None:
        self.settings, self.classes = settings, classes
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(seed, "critic"))
            self.critic = Critic(image, classes, width)
        self._begin()

    def _begin(self) -> None:
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=self.settings.lr, betas=self.settings.betas)

    def to(self, device: torch.device | str) -> Adversary:
        """Move to a device, before the first step."""
        self.critic.to(device)
        self._begin()
        return self

    def rate(self, lr: float) -> None:
        """Set the critic's learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def learn(self, synthetic: Generator, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Take one step of the critic, on real images and as many fresh images of random classes.

        Args:
            synthetic: the generator that draws the fresh images; its running statistics move.
            images, labels: the real images, float [B, C, H, W] in [0, 1], and their labels, int64 [B].
            generator: the generator of all draws, on the CPU.

        Returns:
            the critic's loss, detached. If its gradient is NaN or infinite, the result is the gradient's norm instead,
            and the critic stays as it was.
        """
        others = torch.randint(self.classes, labels.shape, generator=generator).to(labels.device)
        with torch.no_grad():
            fake = synthetic.raw(others, generator) * 2 - 1
        loss = self._critic_loss(images * 2 - 1, labels, fake, others, generator)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm: Tensor = get_total_norm([p.grad for p in self.critic.parameters() if p.grad is not None])
        if not bool(norm.isfinite()):
            return norm
        self.optimizer.step()
        return loss.detach()

    def _critic_loss(
        self, real: Tensor, labels: Tensor, fake: Tensor, others: Tensor, generator: torch.Generator
    ) -> Tensor:
        score, logits = self.critic(torch.cat([real, fake]))
        on_real, on_fake = score.chunk(2)
        classes = 2 * F.cross_entropy(logits, torch.cat([labels, others]))  # the sum of both halves' means
        game: Tensor
        if self.settings.loss == "plain":
            game = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        else:
            mix = torch.rand(len(real), generator=generator).to(real)
            penalty = gradient_penalty(lambda x: self.critic(x)[0], real, fake, mix)
            game = on_fake.mean() - on_real.mean() + self.settings.penalty * penalty
        return game + self.settings.auxiliary * classes

    def judge(self, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms that the generator minimises, differentiable in its images [B, C, H, W], which are in [0, 1]."""
        score, logits = self.critic(fake * 2 - 1)
        deceit = F.softplus(-score) if self.settings.loss == "plain" else -score
        return {"deceit": deceit.mean(), "classes": self.settings.auxiliary * F.cross_entropy(logits, labels)}

    def state_dict(self) -> dict[str, Any]:
        """The states of critic and optimiser."""
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])


def real_batch(data: ImageData, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw random real images in [0, 1] with replacement; return them and their labels."""
    chosen = torch.randint(len(data), (size,), generator=generator).to(data.images.device)
    return data.raw(chosen), data.labels[chosen]


class Gan(Trainable):
    """Generator and critic, which take one step each; the generator draws images of a real batch's labels.

    Args:
        synthetic: the generator.
        adversary: its opponent.
        data: the real images.
    """

    repeatable = False

    def __init__(self, synthetic: Generator, adversary: Adversary, data: ImageData) -> None:
        self.synthetic, self.adversary, self.data = synthetic, adversary, data

    @override
    def groups(self) -> list[Group]:
        return [Group(name="generator", params=self.synthetic.learned, lr=self.adversary.settings.lr)]

    @override
    def backward(self, step: int, generator: torch.Generator) -> Terms:
        images, labels = real_batch(self.data, self.adversary.settings.batch, generator)
        critic = self.adversary.learn(self.synthetic, images, labels, generator)
        terms = self.adversary.judge(self.synthetic.raw(labels, generator), labels)
        torch.autograd.backward(list(terms.values()), inputs=self.synthetic.learned)
        return {"critic": critic, **{name: term.detach() for name, term in terms.items()}}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"synthetic": self.synthetic.state_dict(), "adversary": self.adversary.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.synthetic.load_state_dict(state["synthetic"])
        self.adversary.load_state_dict(state["adversary"])


def train_gan(settings: GanSettings, context: Context, synthetic: Generator) -> Adversary:
    """Train the generator in place, as phase ``gan`` of the context, and return its opponent, trained as long."""
    width = settings.width or synthetic.config.width
    adversary = Adversary(settings, context.data.shape, context.classes, width, context.seed).to(context.device)
    work = Gan(synthetic, adversary, context.data)
    schedule = settings.schedule(len(context.data))
    optimise(work, schedule, seed=derive(context.seed, "gan"), run=context.run("gan"))
    return adversary

"""Logit matching: networks should answer alike on a generator's images and real ones (DiM, Wang et al. 2023, 3.3).

    L = L_g + λ · MSE(m(drawn images), m(real images))          Eq. 5 and 7

Image i of the batch is drawn for the label of real image i. At the start of each epoch a new network m is drawn from a
pool and freshly initialised (Eq. 6); it learns the real images during the epoch. L_g is the GAN's loss: the critic
keeps learning, too.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.card import Augmentation
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.context import Context
from dsetpack.trainers.gan import Adversary, Batch, GanSettings, Rate, real_batch, train_gan
from dsetpack.trainers.loop import Terms
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.objectives import base
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.parameterizations.base import Parameterization, Positive
from dsetpack.trainers.parameterizations.generator import Generator
from dsetpack.trainers.seeds import derive
from dsetpack.training.augment import Dsa

Matching = Literal["logits", "log-softmax", "features", "gradients"]
POOL = ("convnet3", "resnet10", "resnet18", "resnetap10", "resnetap18")
REASON = "a GAN and matching by label need a generator, which draws fresh images of any label"


class LogitsSettings(base.ObjectiveSettings):
    """Settings of logit matching after a GAN. The parameterization's ``lr`` is the generator's rate while matching.

    The paper states batch, λ, the pool, and SGD at 0.01 for networks. From the release: 16 real batches before each
    step, momentum, weight decay, color and crop for the networks, and both rates of 5e-6. The release carries the
    generator's Adam moments over from the GAN (here they start from scratch), and keeps the epoch that is best on the
    test images (here the last one counts). It also normalises images in [-1, 1] as if they were in [0, 1]; here
    networks see the pack's pixel space. Siamese augmentation while matching (the release's ``--match-aug``: color,
    crop, cutout) is the recipe's ``siamese``.

    Attributes:
        matching: ``logits``: Eq. 5. ``log-softmax``: as released, the mean squared difference of log-probabilities.
            The paper's ablations (Table 4) in the release's form: ``features``: the absolute difference of the batches'
            mean features, summed; taken before the last layer (inferred). ``gradients``: the absolute difference of the
            gradients of the batches' cross-entropy, summed over the convolutions' weights.
        weight: λ; None for 0.01 with logits and log-softmax, and for 0.001, as released, with features and gradients.
        gan: the training of the GAN.
        networks: the pool; one network is drawn each epoch.
        network_width: the networks' width; None for the papers' widths.
        epoch_steps: the number of steps that a network is used for; None for a pass over the real images.
        batch: real images per step; as many images are drawn to match them.
        lr_critic: the critic's learning rate while matching.
        real_steps: the number of batches of real images that the network learns before each step.
        real_batch: the size of those batches; None for ``batch``.
        lr_network, momentum, weight_decay: the networks' SGD.
        augmentation: the augmentation of the real images that networks learn, drawn for each image; or ``none``.
    """

    refuses: ClassVar[dict[str, str]] = dict.fromkeys(("haba", "images", "kfs", "upsample"), REASON)

    name: Literal["logits"] = "logits"
    matching: Matching = "logits"
    weight: Annotated[float, Field(ge=0)] | None = None
    gan: GanSettings = GanSettings()
    networks: Annotated[tuple[str, ...], Field(min_length=1)] = POOL
    network_width: Positive | None = None
    epoch_steps: Positive | None = None
    batch: Batch = 64
    lr_critic: Rate = 5e-6
    real_steps: Annotated[int, Field(ge=0)] = 16
    real_batch: Batch | None = None
    lr_network: Rate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    augmentation: Augmentation | Literal["none"] = Augmentation(ops=("color", "crop"), mode="all")

    @property
    def share(self) -> float:
        """λ, with its default filled in."""
        usual = 0.01 if self.matching in ("logits", "log-softmax") else 0.001
        return usual if self.weight is None else self.weight

    @override
    def named_networks(self) -> tuple[tuple[str, int | None], ...]:
        return tuple((name, self.network_width) for name in self.networks)

    @override
    def build(self, context: Context, synthetic: Parameterization) -> LogitMatching:
        adversary = train_gan(self.gan, context, generative(synthetic))
        adversary.rate(self.lr_critic)
        return LogitMatching(self, context, adversary)


class LogitMatching(Objective):
    """Draw images, match them to real ones and keep playing against the critic.

    Args:
        settings: the matching's settings.
        context: the real images, the pixel space, and the augmentation of matched images.
        adversary: the trained critic.
    """

    repeatable = False

    def __init__(self, settings: LogitsSettings, context: Context, adversary: Adversary) -> None:
        self.settings, self.context, self.adversary = settings, context, adversary
        self.teacher = Teacher(settings, context)
        self._epoch_steps = settings.epoch_steps or max(1, len(context.data) // settings.batch)

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        source, settings = generative(synthetic), self.settings
        network = self.teacher.at(step // self._epoch_steps)
        self.teacher.learn(generator)
        images, labels = real_batch(self.context.data, settings.batch, generator)
        critic = self.adversary.learn(source, images, labels, generator)
        drawn = source.raw(labels, generator)
        real, fake = self._augmented(self.context.space.apply(images), source.in_space(drawn), generator)
        terms = {
            "matching": settings.share * distance(settings.matching, network, real, fake, labels),
            **self.adversary.judge(drawn, labels),
        }
        torch.autograd.backward(list(terms.values()), inputs=source.learned)
        return {"critic": critic, **{name: term.detach() for name, term in terms.items()}}

    def _augmented(self, real: Tensor, fake: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.context.augment is None:
            return real, fake
        seed = int(torch.randint(2**62, (1,), generator=generator))
        return self.context.augment(real, seed, siamese=True), self.context.augment(fake, seed, siamese=True)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"adversary": self.adversary.state_dict(), "teacher": self.teacher.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adversary.load_state_dict(state["adversary"])
        self.teacher.load_state_dict(state["teacher"])


class Teacher:
    """The network of the current epoch, which learns the real images.

    Args:
        settings: the pool, SGD and the augmentation.
        context: the real images, the pixel space and the seed.
    """

    def __init__(self, settings: LogitsSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._augment = Dsa(settings.augmentation) if settings.augmentation != "none" else None
        self._renew(0)

    def at(self, epoch: int) -> Network:
        """The network of an epoch: the current one, or a newly drawn and initialised one if the epoch is another."""
        if epoch != self.epoch:
            self._renew(epoch)
        return self.network

    def _renew(self, epoch: int) -> None:
        settings, context, seed = self._settings, self._context, self._context.seed
        self.epoch = epoch
        name = settings.networks[derive(seed, "pool", epoch) % len(settings.networks)]
        image, width, weights = context.data.shape, settings.network_width, derive(seed, "teacher", epoch)
        self.network = network(name, image, context.classes, width, seed=weights).to(context.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=settings.lr_network,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

    def learn(self, generator: torch.Generator) -> None:
        """Train the network on ``real_steps`` batches of real images."""
        settings = self._settings
        for _ in range(settings.real_steps):
            images, labels = real_batch(self._context.data, settings.real_batch or settings.batch, generator)
            x = self._context.space.apply(images)
            logits = self.network(x if self._augment is None else self._augment(x, generator))
            self.optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(logits, labels))
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The epoch, its network and the network's optimiser."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.at(state["epoch"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def distance(matching: Matching, network: Network, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """How differently a network sees real and drawn images [B, C, H, W] of the same labels.

    Only ``fake`` gets a gradient. For batch norms, each side is a batch of its own. See ``LogitsSettings.matching`` for
    the forms.
    """
    if matching == "gradients":
        goal, found = _gradients(network, real, labels, False), _gradients(network, fake, labels, True)
        return torch.stack([(a.detach() - b).abs().sum() for a, b in zip(goal, found, strict=True)]).sum()
    see = network.embed if matching == "features" else network
    with torch.no_grad():
        goal_values = see(real)
    values = see(fake)
    if matching == "features":
        return (values.mean(0) - goal_values.mean(0)).abs().sum()
    if matching == "log-softmax":
        values, goal_values = values.log_softmax(1), goal_values.log_softmax(1)
    return F.mse_loss(values, goal_values)


def _gradients(network: Network, x: Tensor, labels: Tensor, differentiable: bool) -> tuple[Tensor, ...]:
    """The gradients of the batch's cross-entropy with respect to the convolutions' weights."""
    weights = [p for p in network.parameters() if p.ndim == 4]
    return torch.autograd.grad(F.cross_entropy(network(x), labels), weights, create_graph=differentiable)


def generative(synthetic: Parameterization) -> Generator:
    """Return the parameterization if it is a generator.

    Raises:
        FormatError: if it is not.
    """
    if not isinstance(synthetic, Generator):
        raise FormatError(f"logits on {type(synthetic).__name__}: {REASON}")
    return synthetic


SETTINGS = LogitsSettings

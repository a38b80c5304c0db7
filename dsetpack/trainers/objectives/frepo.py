"""FRePo: neural feature regression with pooling (Zhou, Nezhadarya & Ba 2022).

A pool of networks trains along on the synthetic set. In each step one of them, drawn at random, maps synthetic images
S and a batch of real ones T to features f (in inference mode, by its running statistics, and constant: no gradient
reaches the network), kernel ridge regression on f(S) predicts the labels of T, and the set moves to lower

    L = mean over T of ½ ‖ f(T) f(S)ᵀ (f(S) f(S)ᵀ + λI)⁻¹ Y_S - Y_T ‖²  +  margin · M(Y_S)
    M(Y) = mean over S of - min(largest - second largest label, 1 / classes)

with Y_T the one-hot labels minus 1 / classes. Then that network takes one step on the set as it now is, or starts anew
if it has taken more than K.

What the paper does not say, and the released code does: the margin term; the ridge's scale; that each network begins at
a counter of its own, so that the pool's ages are spread; that a network starts anew *instead* of a step; that
predictions are made in inference mode; flip doubling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.context import Context
from dsetpack.trainers.krr import RIDGE, KrrPredictor, Scale, centred
from dsetpack.trainers.loop import Terms
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.objectives import base
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.seeds import derive

Positive = Annotated[int, Field(ge=1)]


class FrepoSettings(base.ObjectiveSettings):
    """FRePo's settings; the paper learns images and labels by LAMB, 3e-4 falling to a tenth along a cosine.

    Attributes:
        network, width: of the pool. ``frepo3`` for 28×28 and 32×32; deeper ones for larger images are inferred.
        pool: m, how many networks.
        updates: K: a network that has taken more steps starts anew. Network i begins with a count of i · (K // m).
        batch: real images a step, drawn anew each step (in the release: epoch by epoch).
        online_batch: synthetic images (pairs) in a network's step; a random part of them where there are more.
        online_lr: of the networks' Adam.
        ridge: λ relative to the diagonal of the synthetic images' kernel.
        ridge_scale: ``mean``: relative to its mean, as the code has it. ``trace``: to its sum, as ISA's text has it.
        flip: the regression sees every synthetic image and its mirror image. None: for 3-channel images. The release
            turns it off for CIFAR-100 and Tiny ImageNet from 10 images a class on, and for ImageNet at 64×64.
        margin: the weight of the margin term. Hard labels have none.
        chunk: images embedded at a time, where memory is short; the backward pass embeds them once more. None: all.
    """

    refuses: ClassVar[Mapping[str, str]] = {
        "generator": "kernel ridge regression needs a fixed set of images to solve for; a generator draws new ones "
        "each time"
    }

    name: Literal["frepo"] = "frepo"
    network: str = "frepo3"
    width: Positive | None = None
    pool: Positive = 10
    updates: Positive = 100
    batch: Positive = 1024
    online_batch: Positive = 1000
    online_lr: Annotated[float, Field(gt=0)] = 3e-4
    ridge: Annotated[float, Field(gt=0)] = RIDGE
    ridge_scale: Scale = "mean"
    flip: bool | None = None
    margin: Annotated[float, Field(ge=0)] = 1.0
    chunk: Positive | None = None

    @override
    def build(self, context: Context, synthetic: Parameterization) -> FeatureRegression:
        return FeatureRegression(self, context)


class OnlineNetwork:
    """One network of the pool, its optimiser, and how many steps it has taken. At rest in inference mode, constant.

    Args:
        build: from a seed to a network.
        lr: of Adam.
        seed: of the first weights.
        updates: the count to begin with.
    """

    def __init__(self, build: Callable[[int], Network], lr: float, seed: int, updates: int) -> None:
        self._build, self._lr = build, lr
        self.begin(seed)
        self.updates = updates

    def begin(self, seed: int) -> None:
        """New weights, a new optimiser, no steps taken."""
        self.net = self._build(seed).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), self._lr)
        self.updates = 0

    def step(self, images: Tensor, targets: Tensor) -> None:
        """One step on the mean of the squared error, in training mode: batch statistics enter the running ones."""
        self.net.train().requires_grad_(True)
        self.optimizer.zero_grad()
        torch.autograd.backward(half_square(self.net(images) - targets.to(images)).mean())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.net.eval().requires_grad_(False)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Weights, running statistics, optimiser and count."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]


class FeatureRegression(base.Objective):
    """FRePo's two losses on a pool of networks.

    Args:
        settings: see there.
        context: real images, seed, and siamese augmentation of both sides if there is one (the paper has none).

    Raises:
        FormatError: there is one class only.
    """

    def __init__(self, settings: FrepoSettings, context: Context) -> None:
        if context.classes < 2:
            raise FormatError(
                f"{context.data.name} has {context.classes} class; frepo regresses on labels of 2 or more"
            )
        self.settings, self.context = settings, context
        shape = context.data.shape
        self.flip = shape[0] == 3 if settings.flip is None else settings.flip
        seeds = [derive(context.seed, "frepo", "network", number) for number in range(settings.pool)]
        ages = [number * (settings.updates // settings.pool) for number in range(settings.pool)]

        def build(seed: int) -> Network:
            return network(settings.network, shape, context.classes, settings.width, seed=seed).to(context.device)

        self.pool = [OnlineNetwork(build, settings.online_lr, *start) for start in zip(seeds, ages, strict=True)]
        self._drawn = self.pool[0]

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        self._drawn = self.pool[int(torch.randint(len(self.pool), (1,), generator=generator))]
        net = self._drawn.net
        real, labels = self.context.real_batch(self.settings.batch, generator)
        images, learned = synthetic.images(), synthetic.targets()
        if self.context.augment is not None:
            seed = int(torch.randint(2**62, (1,), generator=generator))
            real, images = (self.context.augment(x, seed, siamese=True) for x in (real, images))
        targets = self._hard(synthetic.labels) if learned is None else learned
        if self.flip:
            images, targets = torch.cat([images, images.flip(3)]), torch.cat([targets, targets])
        with torch.no_grad():
            features = self._embed(net, real)
        predict = KrrPredictor(self._embed(net, images), targets, self.settings.ridge, self.settings.ridge_scale)
        terms = {"regression": self.outer(predict(features) - self._hard(labels))}
        if learned is not None and self.settings.margin:
            terms["margin"] = self.settings.margin * label_margin(learned.double())
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        return {name: term.detach() for name, term in terms.items()}

    def outer(self, residuals: Tensor) -> Tensor:
        """The regression term, a scalar, from predictions minus targets of the real batch, float64 [B, classes]."""
        return half_square(residuals).mean()

    @override
    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:
        """The network of this step trains on the set, or starts anew once its count exceeds K."""
        if self._drawn.updates > self.settings.updates:
            self._drawn.begin(int(torch.randint(2**62, (1,), generator=generator)))
            return
        pairs = synthetic.batch(generator, self.settings.online_batch)
        with torch.no_grad():
            images, learned = synthetic.images(pairs), synthetic.targets(pairs)
        self._drawn.step(images, self._hard(synthetic.labels[pairs]) if learned is None else learned)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"pool": [member.state_dict() for member in self.pool]}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        for member, saved in zip(self.pool, state["pool"], strict=True):
            member.load_state_dict(saved)

    def _hard(self, labels: Tensor) -> Tensor:
        return centred(labels, self.context.classes)

    def _embed(self, net: Network, images: Tensor) -> Tensor:
        pieces = torch.split(images, self.settings.chunk or len(images))
        if len(pieces) == 1:
            return net.embed(images)
        # in inference mode a network draws nothing: no random state to keep for the second pass
        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        return torch.cat([checkpoint(net.embed, piece, **options) for piece in pieces])


def half_square(residuals: Tensor) -> Tensor:
    """½ Σ over classes of the square: [n] from [n, classes]. ISA's Eq. 5, by which samples are easy or hard."""
    return residuals.square().sum(1) / 2


def label_margin(labels: Tensor) -> Tensor:
    """The mean over labels [n, classes] of -min(largest - second largest, 1 / classes): pushes apart up to there."""
    first, second = labels.topk(2, dim=1).values.unbind(1)
    return -(first - second).clamp_max(1 / labels.shape[1]).mean()


SETTINGS = FrepoSettings

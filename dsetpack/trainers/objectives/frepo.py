"""FRePo: neural feature regression with pooling (Zhou, Nezhadarya & Ba 2022).

A pool of networks trains on the synthetic set while the set learns. In each step one of them, drawn at random, maps
synthetic images S and a batch of real ones T to features f (in inference mode, by its running statistics; no gradient
reaches the network). Kernel ridge regression on f(S) predicts the labels of T, and the set takes a step down

    L = mean over T of ½ ‖ f(T) f(S)ᵀ (f(S) f(S)ᵀ + λI)⁻¹ Y_S - Y_T ‖²  +  margin · M(Y_S)
    M(Y) = mean over S of - min(largest - second largest label, 1 / classes)

where Y_T are the one-hot labels minus 1 / classes. Then that network takes one step on the set as it now is, or gets
new weights if it has taken more than K steps.

These are not in the paper, only in the released code: the margin term; the ridge's scale; that each network begins with
a count of its own, so that the pool's ages are spread; that new weights come *instead* of a step; that predictions are
made in inference mode; flip doubling.
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
    """FRePo's settings. The paper learns images and labels by LAMB, at 3e-4 falling to a tenth along a cosine.

    Attributes:
        network, width: the pool's networks. ``frepo3`` for 28×28 and 32×32; deeper ones for larger images are inferred.
        pool: m, the number of networks.
        updates: K: a network that has taken more steps gets new weights. Network i begins with a count of i · (K // m).
        batch: real images per step, drawn independently for each step (the release goes epoch by epoch).
        online_batch: synthetic images (pairs) in a network's step; a random part of the set if it has more.
        online_lr: the learning rate of the networks' Adam.
        ridge: λ relative to the diagonal of the synthetic images' kernel.
        ridge_scale: ``mean``: relative to the diagonal's mean, as in the released code. ``trace``: relative to its sum,
            as in ISA's text.
        flip: whether the regression sees every synthetic image and its mirror image. None: only with 3-channel images.
            The release turns it off for CIFAR-100 and Tiny ImageNet from 10 images per class on, and for ImageNet at
            64×64.
        margin: the weight of the margin term. Hard labels have no such term.
        chunk: images embedded at a time, to save memory; the backward pass embeds them once more. None: all at once.
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
    """One network of the pool, its optimiser, and its count of steps. Between steps it is frozen, in inference mode.

    Args:
        build: makes a network from a seed.
        lr: Adam's learning rate.
        seed: the seed of the first weights.
        updates: the count to begin with.
    """

    def __init__(self, build: Callable[[int], Network], lr: float, seed: int, updates: int) -> None:
        self._build, self._lr = build, lr
        self.begin(seed)
        self.updates = updates

    def begin(self, seed: int) -> None:
        """Start over with new weights, a new optimiser and a count of 0."""
        self.net = self._build(seed).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), self._lr)
        self.updates = 0

    def step(self, images: Tensor, targets: Tensor) -> None:
        """Take one step on the mean squared error, in training mode: batch statistics enter the running ones."""
        self.net.train().requires_grad_(True)
        self.optimizer.zero_grad()
        torch.autograd.backward(half_square(self.net(images) - targets.to(images)).mean())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.net.eval().requires_grad_(False)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The network's weights and running statistics, the optimiser and the count."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]


class FeatureRegression(base.Objective):
    """FRePo's two losses on a pool of networks.

    Args:
        settings: see ``FrepoSettings``.
        context: the real images, the seed, and siamese augmentation of both sides, if any (the paper has none).

    Raises:
        FormatError: if there is only one class.
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
        """The regression term, a scalar, from the real batch's predictions minus targets, float64 [B, classes]."""
        return half_square(residuals).mean()

    @override
    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:
        """Train this step's network on the set, or give it new weights if its count exceeds K."""
        if self._drawn.updates > self.settings.updates:
            self._drawn.begin(int(torch.randint(2**62, (1,), generator=generator)))
            return
        pair_ids = synthetic.batch(generator, self.settings.online_batch)
        with torch.no_grad():
            images, learned = synthetic.images(pair_ids), synthetic.targets(pair_ids)
        self._drawn.step(images, self._hard(synthetic.labels[pair_ids]) if learned is None else learned)

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
        # in inference mode a network draws nothing, so the second pass needs no saved random state
        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        return torch.cat([checkpoint(net.embed, piece, **options) for piece in pieces])


def half_square(residuals: Tensor) -> Tensor:
    """½ Σ over classes of the square: [n] from [n, classes]. ISA ranks samples by it (Eq. 5)."""
    return residuals.square().sum(1) / 2


def label_margin(labels: Tensor) -> Tensor:
    """The mean over labels [n, classes] of -min(largest - second largest, 1 / classes): widens gaps up to there."""
    first, second = labels.topk(2, dim=1).values.unbind(1)
    return -(first - second).clamp_max(1 / labels.shape[1]).mean()


SETTINGS = FrepoSettings

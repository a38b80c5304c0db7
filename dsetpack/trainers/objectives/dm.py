"""Distribution matching with full batches on both sides: Eq. 1 of KFS (after Zhao & Bilen 2022).

    L = 1/C Σ_c ½ ‖ mean of g(real images of class c) - mean of g(synthetic images of class c) ‖²

where g gives the penultimate features of a randomly initialised network, a new one each step. The real mean is over
all images. The synthetic mean is over all pairs of source and decoder: a mean over a random part of them has a gradient
that is wrong on average (Eq. 2), because it ignores how samples act together.

The classes' losses are independent of each other. So all images are decoded at once, and then embedded a few classes at
a time, each time with a backward pass: that takes little memory, and on a CPU less time than one large batch. (This is
not done with networks whose batch norm mixes the images of a batch, nor if the real side depends on the synthetic one.)

The gradient with respect to one synthetic embedding of class c is (mean_syn - mean_real) / (C·n_c), a constant once
the means are known. So memory need not hold a whole class at once:

- ``chunk`` images at a time: a first pass without gradients finds the means, a second one goes backward piece by piece.
  This is exact, at the price of one more forward pass.
- ``share`` < 1: the second pass takes only a random share of each class's pairs and scales their gradients up. This is
  unbiased (KFS's memory fallback), noisier and cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers import parallel
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Terms
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives import base
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.objectives.means import BatchMeans, Means, NetworkPool, RealMeans, in_full
from dsetpack.trainers.parameterizations.base import Parameterization, Positive

TOGETHER: Mapping[str, int] = {"cpu": 64}
"""How many images are embedded at a time when we may choose, by device type: on a CPU, what fits its caches."""
MANY = 2048
"""The same number for other devices: enough to keep them busy."""


class DmSettings(base.ObjectiveSettings):
    """Settings of distribution matching. By default it is KFS's: means over all real images, computed once and cached.

    DM's release draws 256 real images of each class per step (``real_batch``), and sums over classes without the factor
    ½: its loss is 2·C times this one, so with SGD its learning rate of 1 is 2·C here.

    Attributes:
        network, width: the networks to match, freshly initialised; width None for the papers' widths.
        networks: the number of different networks; later steps use them again, with the same draw of the augmentation.
        real_batch: real images of each class per step; None for all.
        drop: ISA's change: the share of each class's real batch, the easiest first, that the mean leaves out; see
            ``isa.crucial_mean``. 0 for no change, 0.2 in the paper; needs ``real_batch``.
        share, chunk: the memory fallback; see ``DistributionMatching``.
    """

    refuses: ClassVar[Mapping[str, str]] = {
        "generator": "class means need a fixed set of images, and a generator draws new ones: match its logits instead"
    }

    name: Literal["dm"] = "dm"
    network: str = "convnet3"
    width: Positive | None = None
    networks: Positive = 20_000
    real_batch: Positive | None = None
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    chunk: Positive | None = None

    @model_validator(mode="after")
    def _drop_needs_a_batch(self) -> DmSettings:
        if self.drop and self.real_batch is None:
            raise ValueError("'drop' picks among the real images of a step: set 'real_batch' (the release has 256)")
        return self

    @override
    def build(self, context: Context, synthetic: Parameterization) -> DistributionMatching:
        data = context.data
        pool = NetworkPool(self.network, self.width, self.networks, context.seed, data.shape, context.classes)
        means: Means
        if self.real_batch is None:
            means = RealMeans(pool, data, context.space, context.cache, context.augment)
            means.prepare(context.run("match").show)
        else:
            means = BatchMeans(pool, context, self.real_batch, self.drop)
        return DistributionMatching(means, share=self.share, chunk=self.chunk)


class DistributionMatching(Objective):
    """Match class means of embeddings by a pool's networks; several processes share out the classes.

    Args:
        means: the real side, including the networks and the augmentation.
        share: the share of each class's pairs that gradients flow through, 0 < share <= 1.
        chunk: images embedded at a time; None for all at once.

    Raises:
        FormatError: if ``share`` or ``chunk`` is out of range.
    """

    sharded = True

    def __init__(self, means: Means, *, share: float = 1.0, chunk: int | None = None) -> None:
        if not 0 < share <= 1 or (chunk is not None and chunk < 1):
            raise FormatError(f"share is {share} and chunk {chunk}; expected 0 < share <= 1 and chunk >= 1")
        self.means, self.share, self.chunk = means, share, chunk

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        net, classes = self.means.pool.build(step, synthetic.device), self.means.pool.classes
        own = torch.tensor(parallel.mine(classes), dtype=torch.int64, device=synthetic.device)
        if not len(own):  # more processes than classes
            return {"matching": torch.zeros((), device=synthetic.device)}
        pair_ids = None if len(own) == classes else torch.isin(synthetic.labels, own).nonzero()[:, 0]
        side = _Side(net, self.means.augmenter(step), synthetic, own, classes)
        if self.share < 1 or self.chunk is not None:
            return {"matching": self._in_pieces(step, side, pair_ids, generator)}
        most = TOGETHER.get(synthetic.device.type, MANY)
        if len(side.labels(pair_ids)) > most and not (self.means.follows or mixes(net)):
            return {"matching": self._by_class(step, side, pair_ids, most)}
        mean = side.mean(side.embed(pair_ids), pair_ids)
        loss = side.loss(mean, self.means(step, net, mean.detach()))
        torch.autograd.backward(loss)
        return {"matching": loss.detach()}

    def _by_class(self, step: int, side: _Side, pair_ids: Tensor | None, most: int) -> Tensor:
        """Match a few classes at a time: up to ``most`` images, but at least one class."""
        real, labels = self.means(step, side.net, None), side.labels(pair_ids)
        images = side.synthetic.images(pair_ids)
        gradient, total = torch.empty_like(images), torch.zeros((), device=images.device)
        for positions, classes in by_class(labels, most):
            x = images.detach()[positions].requires_grad_()
            mean = class_mean(side.net.embed(side.augment(x)), labels[positions], side.classes)
            loss = matching_loss(mean[classes], real[classes]) * (len(classes) / side.classes)
            gradient[positions] = torch.autograd.grad(loss, x)[0]
            total = total + loss.detach()
        torch.autograd.backward(images, gradient)
        return total

    def _in_pieces(self, step: int, side: _Side, pair_ids: Tensor | None, generator: torch.Generator) -> Tensor:
        if pair_ids is None:
            pair_ids = torch.arange(len(side.synthetic.labels), device=side.synthetic.device)
        with torch.no_grad():
            mean = side.mean(torch.cat([side.embed(part) for part in self._split(pair_ids)]), pair_ids)
        real = self.means(step, side.net, mean)
        positions, weight = draw_share(side.labels(pair_ids), self.share, generator)
        direction = (mean - real) / side.classes
        for part, scale in zip(self._split(pair_ids[positions]), self._split(weight), strict=True):
            pull = direction[side.labels(part)] * scale[:, None].to(direction)
            torch.autograd.backward((side.embed(part) * pull).sum())
        return side.loss(mean, real)

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        return torch.split(values, self.chunk or len(values))


@dataclass(frozen=True)
class _Side:
    """The synthetic side of one step: how its images are embedded, and which classes this process handles."""

    net: Network
    augment: Callable[[Tensor], Tensor]
    synthetic: Parameterization
    own: Tensor
    classes: int

    def embed(self, pair_ids: Tensor | None) -> Tensor:
        return self.net.embed(self.augment(self.synthetic.images(pair_ids)))

    def labels(self, pair_ids: Tensor | None) -> Tensor:
        return self.synthetic.labels if pair_ids is None else self.synthetic.labels[pair_ids]

    def mean(self, embedded: Tensor, pair_ids: Tensor | None) -> Tensor:
        return class_mean(embedded, self.labels(pair_ids), self.classes)

    def loss(self, mean: Tensor, real: Tensor) -> Tensor:
        """Eq. 1 over this process's classes, divided by the number of all classes."""
        return matching_loss(mean[self.own], real[self.own]) * (len(self.own) / self.classes)


def mixes(net: nn.Module) -> bool:
    """Whether the network's output for an image depends on the other images of the batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())


def by_class(labels: Tensor, most: int) -> list[tuple[Tensor, list[int]]]:
    """Group whole classes so that a group has at most ``most`` images or just one class.

    Returns:
        for each group, the positions of its images in ``labels``, int64 [n], and its classes.
    """
    sizes, classes = [0], list[list[int]]([[]])
    for label, count in enumerate(torch.bincount(labels).tolist()):
        if sizes[-1] and count and sizes[-1] + count > most:
            sizes.append(0)
            classes.append([])
        if count:
            sizes[-1] += count
            classes[-1].append(label)
    return [*zip(torch.split(labels.argsort(stable=True), sizes), classes, strict=True)]


def class_mean(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean of the features [P, F] of each class, [classes, F], in at least float32; labels int64 [P]."""
    with torch.autocast(features.device.type, enabled=False):
        features = in_full(features)
        member = F.one_hot(labels, classes).to(features).T
        # a product, not index_add: it adds in the same order on every device; ones are exact in any precision
        return (member @ features) / member.sum(1, keepdim=True).clamp_min(1)


def matching_loss(synthetic: Tensor, real: Tensor) -> Tensor:
    """Eq. 1 from the class means [C, F] of both sides."""
    return (synthetic - real).square().sum(1).mean() / 2


def draw_share(labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a random share of each class's pairs, at least one pair per class; all pairs if ``share`` is 1.

    Returns:
        the positions of the drawn pairs in ``labels``, int64 [S], on the same device; the weight of each,
        1 / (pairs drawn of its class), float64 [S] on the CPU: the weighted sum over drawn pairs is, on average over
        draws, the mean over the class's pairs.
    """
    host = labels.cpu()
    chosen, weights = [], []
    for label in sorted(set(host.tolist())):
        positions = torch.nonzero(host == label)[:, 0]
        size = len(positions)
        count = max(1, round(share * size))
        order = torch.arange(size) if share == 1 else torch.randperm(size, generator=generator)[:count]
        chosen.append(positions[order])
        weights.append(torch.full((count,), 1 / count, dtype=torch.float64))
    return torch.cat(chosen).to(labels.device), torch.cat(weights)


SETTINGS = DmSettings

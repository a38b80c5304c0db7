"""Distribution matching, full batch on both sides: Eq. 1 of KFS (after Zhao & Bilen 2022).

    L = 1/C Σ_c ½ ‖ mean of g(real images of class c) - mean of g(synthetic images of class c) ‖²

with g the penultimate features of a randomly initialised network, a new one each step. The real mean is over all
images. The synthetic mean is over all pairs of source and decoder: a mean over a random part of them has a gradient
that is wrong on average (Eq. 2), because it forgets how samples act together.

The gradient with respect to one synthetic embedding of class c is (mean_syn - mean_real) / (C·n_c), a constant once
the means are known. So memory need not hold all of it at once:

- ``chunk`` images at a time: a first pass without gradients finds the means, a second one goes backward piece by piece.
  Exact, at the price of one more forward pass.
- ``share`` < 1: the second pass takes only a random share of each class's pairs and scales their gradients up. Unbiased
  (KFS's memory fallback), noisier, cheaper.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.loop import Terms
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.objectives.means import RealMeans
from dsetpack.trainers.parameterizations.base import Parameterization


class DistributionMatching(Objective):
    """Match class means of embeddings by the networks of a pool.

    Args:
        means: the real side, and with it the networks.
        share: of each class's pairs that gradients flow through, 0 < share <= 1.
        chunk: images embedded at a time; None for all at once.
    """

    def __init__(self, means: RealMeans, *, share: float = 1.0, chunk: int | None = None) -> None:
        if not 0 < share <= 1 or (chunk is not None and chunk < 1):
            raise FormatError(f"share is {share} and chunk {chunk}; expected 0 < share <= 1 and chunk >= 1")
        self.means, self.share, self.chunk = means, share, chunk

    @override
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        net = self.means.pool.build(step, synthetic.device)
        real = self.means(step, net)
        if self.share == 1 and self.chunk is None:
            loss = matching_loss(class_mean(net.embed(synthetic.images()), synthetic.labels, len(real)), real)
            torch.autograd.backward(loss)
            return {"matching": loss.detach()}
        return {"matching": self._in_pieces(net, real, synthetic, generator)}

    def _in_pieces(self, net: Network, real: Tensor, synthetic: Parameterization, generator: torch.Generator) -> Tensor:
        labels = synthetic.labels
        every = torch.arange(len(labels), device=labels.device)
        with torch.no_grad():
            embedded = torch.cat([net.embed(synthetic.images(part)) for part in self._split(every)])
            mean = class_mean(embedded, labels, len(real))
        chosen, weight = draw_share(labels, self.share, generator)
        direction = (mean - real) / len(real)
        for part, scale in zip(self._split(chosen), self._split(weight), strict=True):
            features = net.embed(synthetic.images(part))
            pull = direction[labels[part]] * scale[:, None].to(direction)
            torch.autograd.backward((features * pull).sum())
        return matching_loss(mean, real)

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        return torch.split(values, self.chunk or len(values))


def class_mean(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of the features [P, F] of each class, [classes, F]; labels int64 [P]."""
    member = F.one_hot(labels, classes).to(features).T
    # a product instead of index_add: the same sum in the same order on every device
    return (member / member.sum(1, keepdim=True).clamp_min(1)) @ features


def matching_loss(synthetic: Tensor, real: Tensor) -> Tensor:
    """Eq. 1 from the class means [C, F] of both sides."""
    return (synthetic - real).square().sum(1).mean() / 2


def draw_share(labels: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random share of each class's pairs, at least one; all of them for share 1.

    Returns:
        pair numbers int64 [S] on the labels' device; the weight of each, 1 / (pairs drawn of its class), float64 [S] on
        the CPU: the weighted sum over drawn pairs is, on average over draws, the mean over the class's pairs.
    """
    host = labels.cpu()
    chosen, weights = [], []
    for label in sorted(set(host.tolist())):
        pairs = torch.nonzero(host == label)[:, 0]
        count = max(1, round(share * len(pairs)))
        order = torch.arange(len(pairs)) if share == 1 else torch.randperm(len(pairs), generator=generator)[:count]
        chosen.append(pairs[order])
        weights.append(torch.full((count,), 1 / count, dtype=torch.float64))
    return torch.cat(chosen).to(labels.device), torch.cat(weights)

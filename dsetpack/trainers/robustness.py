"""Label-robust and augmentation-robust scores: what a pack gains by its images, and not by labels or augmentation.

DD-Ranking defines them (Li et al. 2025, arXiv 2505.13300; NUS-HPC-AI-Lab/DD-Ranking v0.2.0, whose documentation has the
equations without numbers; here they are numbered in its order). ``acc`` is the accuracy of networks trained on

- ``real-hard``: all real images with hard labels;
- ``syn-hard``: the pack with hard labels;
- ``syn-any`` (also ``syn-aug``): the pack as its card says;
- ``rdm-any`` (also ``rdm-aug``): random real images of the same size, trained like ``syn-any``;
- ``syn-naug``, ``rdm-naug``: the last two without augmentation.

    (1) HLR = acc(real-hard) - acc(syn-hard)                        hard-label recovery
    (2) IOR = acc(syn-any) - acc(rdm-any)                           improvement over random
    (3) alpha = w IOR - (1 - w) HLR
    (4) LRS = (e^alpha - e^-1) / (e - e^-1)
    (5) beta = g (acc(syn-aug) - acc(rdm-aug)) + (1 - g) (acc(syn-naug) - acc(rdm-naug))
    (6) ARS = (e^beta - e^-1) / (e - e^-1)

w = g = 0.5. All are fractions: a gain of 0, where nothing was won or lost, has the score 0.269; a gain of -1 has the
score 0, and a gain of 1 the score 1. The released code puts percentages into the exponential, so its scores leave
[0, 1] and differ from these.

These differences from the release are on purpose:

- The network after the last step counts; the release takes the best of several readings on the test images.
- The learning rate of ``rdm-*`` and of ``syn-hard`` is the best of several on the test images, as in the release, but
  it is the same for all seeds, and the recipe's own is among the choices. This favours the random images.
- The caller defines "the same size": the command takes as many random images as fit into the pack's bytes.
- If a card's labels are soft, ``rdm-*`` get soft labels from the network of ``real-hard`` with the same seed; so that
  network is also the teacher. ``syn-hard`` takes the largest entry of a soft label as the hard one, and is trained by
  cross-entropy. A pack whose labels are hard and trained by cross-entropy has ``syn-hard`` = ``syn-any``.
- ``real-hard`` trains by SGD, momentum 0.9, weight decay 5e-4, batches of 256, from learning rate 0.01 along half a
  cosine to 0, without augmentation (the release's default there), for ten epochs or the requested steps (inferred).
- CutMix counts as augmentation.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass


def normalised(gain: float) -> float:
    """Map a gain in [-1, 1] to [0, 1], with the best gains spread out; 0 becomes 0.269. Equations (4) and (6)."""
    return (math.exp(gain) - math.exp(-1)) / (math.e - math.exp(-1))


def label_robust(hlr: float, ior: float, weight: float = 0.5) -> float:
    """The LRS by (3) and (4), of hard-label recovery and improvement over random, both fractions in [-1, 1]."""
    return normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust(augmented: float, plain: float, weight: float = 0.5) -> float:
    """The ARS by (5) and (6), of the leads over random images with and without augmentation, fractions in [-1, 1]."""
    return normalised(weight * augmented + (1 - weight) * plain)


@dataclass(frozen=True)
class Accuracies:
    """One of the accuracies that make up the scores: a fraction for each seed, and the learning rate."""

    accuracies: tuple[float, ...]
    lr: float

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """The standard deviation over seeds, which divides by seeds - 1; None for one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Scores:
    """The results. Tuples have a value for each seed.

    Attributes:
        parts: the accuracies by their names at the top of this file.
        per_class: the number of random images per class.
        steps: the optimiser steps of each training but ``real-hard``.
        real_steps: the optimiser steps of ``real-hard``.
    """

    parts: dict[str, Accuracies]
    per_class: int
    steps: int
    real_steps: int

    def __getitem__(self, name: str) -> Accuracies:
        return self.parts[name]

    @property
    def hlr(self) -> tuple[float, ...]:
        """Hard-label recovery, (1)."""
        return self._difference("real-hard", "syn-hard")

    @property
    def ior(self) -> tuple[float, ...]:
        """The improvement over random, (2)."""
        return self._difference("syn-any", "rdm-any")

    @property
    def plain(self) -> tuple[float, ...]:
        """The lead over random images without augmentation, the second half of (5)."""
        return self._difference("syn-naug", "rdm-naug")

    @property
    def label_gain(self) -> tuple[float, ...]:
        """The gain of the pack's own labels over hard ones: acc(syn-any) - acc(syn-hard)."""
        return self._difference("syn-any", "syn-hard")

    @property
    def lrs(self) -> tuple[float, ...]:
        """The label-robust score, (4)."""
        return tuple(label_robust(hlr, ior) for hlr, ior in zip(self.hlr, self.ior, strict=True))

    @property
    def ars(self) -> tuple[float, ...]:
        """The augmentation-robust score, (6)."""
        return tuple(augmentation_robust(ior, plain) for ior, plain in zip(self.ior, self.plain, strict=True))

    def _difference(self, more: str, less: str) -> tuple[float, ...]:
        return tuple(a - b for a, b in zip(self[more].accuracies, self[less].accuracies, strict=True))

"""Label-robust and augmentation-robust scores: what a pack owes to its images, and not to labels or augmentation.

As DD-Ranking defines them (Li et al. 2025, arXiv 2505.13300; NUS-HPC-AI-Lab/DD-Ranking v0.2.0, whose documentation has
the equations without numbers: these are numbered in its order). ``acc`` is the accuracy of networks trained on

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

w = g = 0.5. All are fractions: 0.269 is the score of a gain of 0, where nothing was won or lost; 0 is that of -1, and 1
that of 1. The released code puts percentages into the exponential, and its scores leave [0, 1]: these are others.

Where the release and this differ, on purpose:

- The network after the last step counts; the release takes the best of several readings on the test images.
- The learning rate of ``rdm-*`` and of ``syn-hard`` is the best of several on the test images, as there, but one for
  all seeds, and the recipe's own is among them. This favours the random images.
- "The same size" is the caller's to say: the command takes as many random images as fit into the pack's bytes.
- Where a card's labels are soft, ``rdm-*`` get soft labels from the network of ``real-hard`` of the same seed; so its
  training is also the teacher's. Hard labels are the largest entries of soft ones, and trained by cross-entropy. A pack
  whose labels are hard and trained by cross-entropy has ``syn-hard`` = ``syn-any``.
- ``real-hard`` trains by SGD, momentum 0.9, weight decay 5e-4, batches of 256, from learning rate 0.01 along half a
  cosine to 0, without augmentation (the release's default there), for ten epochs or as long as is asked for (inferred).
- CutMix counts as augmentation.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass


def normalised(gain: float) -> float:
    """(4) and (6): a gain in [-1, 1] onto [0, 1], the best gains spread out; 0 becomes 0.269."""
    return (math.exp(gain) - math.exp(-1)) / (math.e - math.exp(-1))


def label_robust(hlr: float, ior: float, weight: float = 0.5) -> float:
    """(3) and (4): the LRS of hard-label recovery and improvement over random, both fractions in [-1, 1]."""
    return normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust(augmented: float, plain: float, weight: float = 0.5) -> float:
    """(5) and (6): the ARS of the leads over random images with and without augmentation, fractions in [-1, 1]."""
    return normalised(weight * augmented + (1 - weight) * plain)


@dataclass(frozen=True)
class Accuracies:
    """One of the accuracies that the scores are made of: a fraction for each seed, at which learning rate."""

    accuracies: tuple[float, ...]
    lr: float

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """Over seeds, by seeds - 1; None for one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Scores:
    """What came out. ``parts`` is by the names at the top of this file; the rest is a value for each seed.

    Attributes:
        per_class: random images of each class.
        steps, real_steps: optimiser steps of each training; of ``real-hard``.
    """

    parts: dict[str, Accuracies]
    per_class: int
    steps: int
    real_steps: int

    def __getitem__(self, name: str) -> Accuracies:
        return self.parts[name]

    @property
    def hlr(self) -> tuple[float, ...]:
        """(1)."""
        return self._difference("real-hard", "syn-hard")

    @property
    def ior(self) -> tuple[float, ...]:
        """(2)."""
        return self._difference("syn-any", "rdm-any")

    @property
    def plain(self) -> tuple[float, ...]:
        """The lead over random images without augmentation: the second half of (5)."""
        return self._difference("syn-naug", "rdm-naug")

    @property
    def label_gain(self) -> tuple[float, ...]:
        """What the pack's own labels add to hard ones: acc(syn-any) - acc(syn-hard)."""
        return self._difference("syn-any", "syn-hard")

    @property
    def lrs(self) -> tuple[float, ...]:
        """(4)."""
        return tuple(label_robust(hlr, ior) for hlr, ior in zip(self.hlr, self.ior, strict=True))

    @property
    def ars(self) -> tuple[float, ...]:
        """(6)."""
        return tuple(augmentation_robust(ior, plain) for ior, plain in zip(self.ior, self.plain, strict=True))

    def _difference(self, more: str, less: str) -> tuple[float, ...]:
        return tuple(a - b for a, b in zip(self[more].accuracies, self[less].accuracies, strict=True))

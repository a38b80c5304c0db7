"""What every parameterization can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dsetpack.part import Part
from dsetpack.spaces import Space

if TYPE_CHECKING:
    from dsetpack.trainers.loop import Group


class Parameterization(nn.Module, ABC):
    """A synthetic set as learnable parameters. Pairs are numbered as in a pack: source · decoders + decoder.

    Attributes:
        space: the pixel space that images come in.
        labels: int64 [P], the label of every pair.
    """

    space: Space
    labels: Tensor

    @abstractmethod
    def images(self, pairs: Tensor | None = None) -> Tensor:
        """Differentiable images float [n, C, H, W] in ``space``.

        Args:
            pairs: pair numbers int64 [n]; None for all of them in order, by the fast path.
        """

    @abstractmethod
    def groups(self) -> Sequence[Group]:
        """The parameters to optimise, with their learning rates."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """The set as parts of a pack: detached copies on the CPU."""

    def floats(self) -> int:
        """How many numbers it stores: what papers count as a budget."""
        return sum(p.numel() for p in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.labels.device

"""What building a method needs: the real images, and where to keep what is made on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dsetpack.spaces import Space
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.training.augment import Dsa

BATCH = 5000


@dataclass(frozen=True, eq=False)
class Context:
    """One distillation.

    Attributes:
        data: the real training images, on the device that computes.
        space: the pixel space that synthetic images live in, on that device.
        ipc: the budget in images a class.
        seed: of everything random; derive from it by name.
        cache: folder for what other runs can use again (real means, experts).
        run: from the name of a phase (``pretrain``, ``experts``) to where it keeps its state; pass it to ``optimise``.
        augment: siamese augmentation of real and synthetic images in matching; None for none.
    """

    data: ImageData
    space: Space
    ipc: int
    seed: int
    cache: Path
    run: Callable[[str], Run]
    augment: Dsa | None = None

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.data.classes)

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.data.images.device

    @cached_property
    def real(self) -> Tensor:
        """All real images in ``space``: float32 [N, C, H, W], without gradient. Four bytes a pixel stay in memory."""
        with torch.no_grad():
            return torch.cat([self.space.apply(x) for x, _ in self.data.batches(BATCH)])

    def real_batch(self, size: int, generator: torch.Generator, label: int | None = None) -> tuple[Tensor, Tensor]:
        """Random real images in ``space`` and their labels, drawn without replacement.

        Args:
            size: how many; all there are where that is fewer.
            generator: on the CPU.
            label: only of this class.
        """
        found = torch.arange(len(self.data)) if label is None else self._of_class[label]
        chosen = found[torch.randperm(len(found), generator=generator)[:size]].to(self.device)
        return self.real[chosen], self.data.labels[chosen]

    @cached_property
    def _of_class(self) -> list[Tensor]:
        return [self.data.of_class(label).cpu() for label in range(self.classes)]

"""What building a method needs: the real images, and where to keep intermediate results."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.notices import notice
from dsetpack.spaces import Space
from dsetpack.trainers import parallel
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.training.augment import Dsa

BATCH = 5000
LARGE = 1_000_000_000
"""The bytes from which on a cache is announced."""


@dataclass(frozen=True, eq=False)
class Context:
    """The context of one distillation.

    Attributes:
        data: the real training images, on the device that computes.
        space: the pixel space of synthetic images, on that device.
        ipc: the budget in images per class.
        seed: the seed of everything random; derive from it by name.
        cache: the folder for results that other runs can use again (real means, experts, DiM's generators).
        run: maps the name of a phase (``pretrain``, ``experts``) to its ``Run``; pass that to ``optimise``.
        augment: siamese augmentation of real and synthetic images in matching, or None.
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
        """The number of classes."""
        return len(self.data.classes)

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self.data.images.device

    @cached_property
    def real(self) -> Tensor:
        """All real images in ``space``, without gradient: float32 [N, C, H, W], which stays in memory."""
        with torch.no_grad():
            return torch.cat([self.space.apply(x) for x, _ in self.data.batches(BATCH)])

    def real_batch(self, size: int, generator: torch.Generator, label: int | None = None) -> tuple[Tensor, Tensor]:
        """Draw random real images in ``space``, without replacement; return them and their labels.

        Args:
            size: the number of images; all of them if there are fewer.
            generator: the generator to draw from, on the CPU.
            label: the class to draw from; None for all classes.
        """
        found = torch.arange(len(self.data)) if label is None else self._of_class[label]
        chosen = found[torch.randperm(len(found), generator=generator)[:size]].to(self.device)
        return self.real[chosen], self.data.labels[chosen]

    @cached_property
    def _of_class(self) -> list[Tensor]:
        return [self.data.of_class(label).cpu() for label in range(self.classes)]


def announce(what: str, size: int, folder: Path) -> None:
    """Say how many bytes a cache will take before it is made, if that is much.

    Raises:
        DsetpackError: if there is not so much room.
    """
    if size < LARGE or parallel.rank():
        return
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    if (free := shutil.disk_usage(there).free) < size:
        raise DsetpackError(
            f"{what} take {gigabytes(size)} in {folder}, where {gigabytes(free)} are free: name another folder by "
            "--cache (cache=) or DSETPACK_CACHE, or make room"
        )
    notice(
        f"{what} will take {gigabytes(size)} in {folder}, where later runs on the same data with the same seed find "
        "them; --cache (cache=) or DSETPACK_CACHE names another folder"
    )


def gigabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB"

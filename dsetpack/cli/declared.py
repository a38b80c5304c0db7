"""The pixel space that options declare: ``--space`` with ``--mean``, ``--std``, ``--dataset``, ``--zca``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from dsetpack.spaces import Space
    from dsetpack.trainers.data import ImageData

SPACES = ("raw", "normalized", "zca-kornia", "zca-frepo")
Channels = tuple[float, ...] | None


@dataclass(frozen=True)
class DeclaredSpace:
    """The options as they were given.

    Attributes:
        name: one of ``SPACES``, or None.
        mean, std: one number per channel.
        dataset, root: the real data, by name or path, and the folder of its files.
        zca: a file with the matrix.
        refit: whether the pack keeps a recipe instead of the matrix.
    """

    name: str | None
    mean: Channels
    std: Channels
    dataset: str | None
    root: Path | None
    zca: Path | None
    refit: bool

    def check(self) -> None:
        """Check the options before anything is read.

        Raises:
            click.UsageError: if they do not go together.
        """
        whitened = (self.name or "").startswith("zca")
        if (self.mean is None) != (self.std is None):
            raise click.UsageError("give --mean and --std, or neither")
        if self.mean is not None and self.name not in ("normalized", "zca-frepo"):
            raise click.UsageError("--mean and --std are for --space normalized or zca-frepo")
        for option, given in (("--zca", self.zca is not None), ("--refit", self.refit)):
            if given and not whitened:
                raise click.UsageError(f"{option} is for --space zca-kornia or zca-frepo")
        if self.refit and self.zca is not None:
            raise click.UsageError("--refit keeps no matrix, and --zca gives one: leave one of them out")
        if whitened and self.dataset is None:
            raise click.UsageError(f"--space {self.name} needs --dataset: the training images that it was fitted on")
        if self.name == "normalized" and self.mean is None and self.dataset is None:
            raise click.UsageError("--space normalized needs --mean and --std, or --dataset")

    def make(self) -> tuple[Space | None, ImageData | None]:
        """Make the space; also return the real data if they had to be read for it.

        Raises:
            FormatError: if there are no published statistics, if the data do not exist, or if numbers do not fit them.
        """
        from dsetpack.spaces import Raw

        if self.name is None or self.name == "raw":
            return (Raw() if self.name else None), None
        if self.name == "normalized":
            return self._normalized(), None
        from dsetpack.trainers.data import load

        data = load(self.dataset or "", self.root, "train")
        return self._whitened(data), data

    def _normalized(self) -> Space:
        from dsetpack.convert import published
        from dsetpack.formats.card import NormalizedSpace
        from dsetpack.formats.errors import at
        from dsetpack.spaces import Normalized

        mean, std = self.mean, self.std
        if mean is None or std is None:
            found = published(self.dataset or "")
            mean, std = found.mean, found.std
        with at("--mean and --std"):
            return Normalized(NormalizedSpace(mean=mean, std=std))

    def _whitened(self, data: ImageData) -> Space:
        from dsetpack.convert import PUBLISHED, given_zca, published
        from dsetpack.spaces import Zca

        variant: Literal["kornia", "frepo"] = "kornia" if self.name == "zca-kornia" else "frepo"
        mean, std = self.mean, self.std
        if variant == "frepo" and mean is None and self.dataset in PUBLISHED:
            mean, std = published(self.dataset).frepo or (None, None)
        if self.zca is not None:
            return given_zca(self.zca, variant, data.images, mean, std)
        storage: Literal["refit", "embed"] = "refit" if self.refit else "embed"
        return Zca.fit(data.images, variant, storage=storage, channel_mean=mean, channel_std=std)

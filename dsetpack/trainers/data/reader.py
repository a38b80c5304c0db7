"""``ImageData``, labelled real images in memory, and the interface of its readers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.pack.arrays import as_images
from dsetpack.spaces import data_digest

Image = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled real images.

    Attributes:
        images: [N, C, H, W], uint8 in 0..255 or float32 in [0, 1].
        labels: int64 [N], indices into ``classes``.
        classes: class names.
        name: the data's usual name, such as ``fashion-mnist``, or where they were read.

    Raises:
        FormatError: if shapes, dtypes or values are not as described, or there are no images.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        x, y = self.images, self.labels
        if x.ndim != 4 or not x.numel() or x.dtype not in (torch.uint8, torch.float32):
            raise FormatError(
                f"{self.name}: images are {x.dtype} {list(x.shape)}; expected uint8 or float32 [N, C, H, W], not empty"
            )
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise FormatError(f"{self.name}: labels are {y.dtype} {list(y.shape)}; expected int64 [{len(x)}]")
        if int(y.min()) < 0 or int(y.max()) >= len(self.classes):
            raise FormatError(
                f"{self.name}: labels from {int(y.min())} to {int(y.max())}; it has "
                f"{plural(len(self.classes), 'class')}"
            )
        if x.is_floating_point() and not (float(x.min()) >= 0 and float(x.max()) <= 1):
            raise FormatError(f"{self.name}: values range from {x.min():g} to {x.max():g}; expected [0, 1] without NaN")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> Image:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """``sha256:...`` of the raw images without labels; ``dsetpack.spaces.data_digest`` defines it."""
        return data_digest(self.images)

    @cached_property
    def labels_digest(self) -> str:
        """``sha256:...`` of the labels as little-endian int64."""
        return "sha256:" + hashlib.sha256(self.labels.cpu().numpy().astype("<i8").tobytes()).hexdigest()

    def raw(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Images as float32 [n, C, H, W] in [0, 1], on the data's device."""
        return as_images(self.images[index])

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images in order, as raw float32 [<= size, C, H, W], with their int64 labels."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.raw(part), self.labels[part]

    def of_class(self, label: int) -> Tensor:
        """The indices of a class's images, int64, in order.

        Raises:
            FormatError: if the class has no image.
        """
        found = torch.nonzero(self.labels == label)[:, 0]
        if not len(found):
            raise FormatError(f"{self.name} has no image of class {label} ({self.classes[label]!r})")
        return found

    def draw(self, per_class: int, seed: int) -> Tensor:
        """Draw the indices of ``per_class`` different random images of each class, class by class; int64.

        Raises:
            FormatError: if a class has fewer images.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = []
        for label in range(len(self.classes)):
            found = self.of_class(label)
            if len(found) < per_class:
                raise FormatError(
                    f"{self.name} has {plural(len(found), 'image')} of class {self.classes[label]!r}; {per_class} "
                    "asked for"
                )
            chosen.append(found[torch.randperm(len(found), generator=generator)[:per_class].to(found.device)])
        return torch.cat(chosen)

    def take(self, index: Tensor) -> ImageData:
        """The data with only these images."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def to(self, device: torch.device | str) -> ImageData:
        """Move the data to a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


class DataReader(ABC):
    """One way to read data. A file of this package offers its readers in ``READERS``.

    Attributes:
        names: the data sets that the reader knows by name.
        last: whether the other readers are asked first, because it accepts paths that they know better.
    """

    names: ClassVar[tuple[str, ...]] = ()
    last: ClassVar[bool] = False

    def load(self, name: str, root: Path | None, split: str) -> ImageData:  # noqa: ARG002
        """Read a data set that the reader knows by name from the files under ``root``.

        Raises:
            FormatError: if the reader knows no data set by name.
            FormatError: if files are missing or damaged.
        """
        raise FormatError(f"{type(self).__name__} knows no data set by name, not even {name!r}")

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether the reader can read this existing path, by its looks."""

    @abstractmethod
    def read(self, path: Path, split: str) -> ImageData:
        """Read the data at a path that the reader accepts."""


def from_arrays(images: np.ndarray, labels: np.ndarray, name: str, classes: Sequence[str] | None = None) -> ImageData:
    """Make data of arrays: images uint8 or float [N, H, W], [N, C, H, W] or [N, H, W, 1 or 3]; labels integers [N].

    Raises:
        FormatError: if shapes or dtypes are not as described, or there are more images than labels or the reverse.
    """
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise FormatError(f"{name}: labels are {labels.dtype} {list(labels.shape)}; expected integers [N]")
    if len(labels) != len(images):
        raise FormatError(f"{name}: {plural(len(images), 'image')} and {plural(len(labels), 'label')}")
    if images.dtype.kind == "f":
        images = images.astype(np.float32)
    if images.dtype not in (np.uint8, np.float32):
        raise FormatError(f"{name}: images are {images.dtype}; expected uint8 or floats in [0, 1]")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    known = tuple(classes) if classes else tuple(map(str, range(int(labels.max(initial=0)) + 1)))
    x, y = np.require(images, requirements=("C", "W")), np.array(labels, dtype=np.int64)
    return ImageData(torch.from_numpy(x), torch.from_numpy(y), known, name)


def check_split(split: str) -> str:
    """Return the split.

    Raises:
        FormatError: if it is neither ``train`` nor ``test``.
    """
    if split not in ("train", "test"):
        raise FormatError(f"split {split!r}; expected 'train' or 'test'")
    return split


def either(paths: Sequence[Path]) -> str:
    """The places that were searched, for a message: ``a, b or c``."""
    *others, last = map(str, paths)
    return f"{', '.join(others)} or {last}" if others else last

"""``ImageData``, labelled real images in memory, and the interface of its readers."""

from __future__ import annotations

import hashlib
import itertools
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dsetpack.files.splits import SPLITS, Split
from dsetpack.formats.alpha import without_alpha
from dsetpack.formats.axes import Axes, channels_last
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.words import plural
from dsetpack.pack.arrays import DTYPES, as_images, as_labels
from dsetpack.spaces import data_digest

Image = tuple[int, int, int]

REAL = Limits(total=sys.maxsize)
"""Real data may be of any size; that a file really holds what it declares is checked all the same."""


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
            raise FormatError(
                f"{self.name}: values range from {x.min():g} to {x.max():g}; expected [0, 1] without NaN: pass images "
                "before normalisation, and pixels in 0..255 as uint8"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        dtype = str(self.images.dtype).removeprefix("torch.")
        count, classes = plural(len(self), "image"), plural(len(self.classes), "class")
        return f"ImageData({self.name!r}, {count} {list(self.shape)} {dtype}, {classes})"

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
        takes: the declarations that ``read`` takes as keywords: ``axes``, ``drop_alpha``.
        last: whether the other readers are asked first, because it accepts paths that they know better.
    """

    names: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()
    last: ClassVar[bool] = False

    def load(self, name: str, root: Path | None, split: Split) -> ImageData:  # noqa: ARG002
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
    def read(self, path: Path, split: Split) -> ImageData:
        """Read the data at a path that the reader accepts."""


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray,
    name: str,
    classes: Sequence[str] | None = None,
    *,
    axes: Axes | None = None,
    drop_alpha: bool = False,
) -> ImageData:
    """Make data of arrays: images uint8 or float [N, H, W], [N, C, H, W] or [N, H, W, C]; labels as below.

    Args:
        images, labels: as above.
        name: the data's name.
        classes: class names; by default numbers.
        axes: ``NCHW`` or ``NHWC``; by default the shape decides, see ``dsetpack.formats.axes``.
        drop_alpha: leave out the last of 2 or 4 channels.

    Raises:
        FormatError: if shapes or dtypes are not as described, or there are more images than labels or the reverse.
        FormatError: as for ``hard_labels``.
        FormatError: if the images can be read in both orders of axes.
    """
    with at(name):
        y, known = hard_labels(labels, classes)
    if len(y) != len(images):
        raise FormatError(f"{name}: {plural(len(images), 'image')} and {plural(len(labels), 'label')}")
    if images.dtype.kind == "f":
        images = images.astype(np.float32)
    if images.dtype not in (np.uint8, np.float32):
        raise FormatError(f"{name}: images are {images.dtype}; {DTYPES}")
    if images.ndim == 3:
        images = images[:, None]
    with at(name):
        images = np.moveaxis(images, 3, 1) if channels_last(images.shape, axes) else images
    if images.ndim == 4:
        images = without_alpha(images, drop_alpha, pictures=images.dtype == np.uint8)
    return ImageData(torch.from_numpy(np.require(images, requirements=("C", "W"))), y, known, name)


def hard_labels(labels: np.ndarray, classes: Sequence[str] | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """Read labels of real images: class numbers or names [N], or one-hot rows [N, classes].

    Args:
        labels: the labels.
        classes: class names; None if the labels use all classes.

    Returns:
        class numbers int64 [N], and the class names.

    Raises:
        FormatError: if labels are not as described or do not fit the classes, or if undeclared classes have no label.
    """
    y, known = as_labels(labels, classes or None)
    if y.ndim == 2:
        if not bool(((y == 1).sum(1) == 1).all() and ((y == 0).sum(1) == y.shape[1] - 1).all()):
            raise FormatError(f"labels are soft, {labels.dtype} {list(labels.shape)}; one class per image expected")
        y = y.argmax(1)
    return y, known


def used_classes(splits: Iterable[np.ndarray]) -> tuple[str, ...]:
    """The classes that the labels of all splits use, so that each split has the same.

    Raises:
        FormatError: if labels of different splits have different shapes, or as for ``hard_labels``.
    """
    arrays = [np.ravel(labels) if labels.size == len(np.atleast_1d(labels)) else labels for labels in splits]
    if len({labels.shape[1:] for labels in arrays}) > 1:
        raise FormatError(f"labels of different shapes in the splits: {', '.join(str(list(a.shape)) for a in arrays)}")
    return hard_labels(np.concatenate(arrays))[1]


def check_split(split: str) -> Split:
    """Return the split.

    Raises:
        FormatError: if it is neither ``train`` nor ``test``.
    """
    for known in SPLITS:
        if split == known:
            return known
    raise FormatError(f"split {split!r}; expected 'train' or 'test'")


def places(root: Path, *levels: Sequence[str]) -> tuple[Path, ...]:
    """The folders where files may be: each name of the first level under the root, each of the second under those."""
    return tuple(root.joinpath(*names) for names in itertools.product(*levels))


def searched(root: Path, folders: Sequence[Path]) -> str:
    """The places that were searched, for a message: ``root, or its folders a, b``."""
    below = [str(folder.relative_to(root)) for folder in folders if folder != root]
    return f"{root}, or its folders {', '.join(below)}"

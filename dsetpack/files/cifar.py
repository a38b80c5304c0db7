"""CIFAR-10 and CIFAR-100 as published: the binary version, and the Python version, which torchvision downloads.

https://www.cs.toronto.edu/~kriz/cifar.html describes both. A file of the binary version consists of records only: the
label (CIFAR-100: the coarse, then the fine one), a byte each, then 3×32×32 bytes, channel by channel, row by row. A
file of the Python version is a pickled dict with the same pixels as ``data``, uint8 [N, 3072], and lists of labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.files.limited import check_size
from dsetpack.files.pickles import read_pickle
from dsetpack.files.splits import Split
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.words import plural

SHAPE = 3, 32, 32
PIXELS = 3 * 32 * 32

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


class Labelled(NamedTuple):
    """One split of CIFAR: images uint8 [N, 3, 32, 32], labels int64 [N], class names, and the files they are from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Version(ABC):
    """One version of a data set.

    Attributes:
        name: the usual name of the data set.
        title: what the version is called.
        folder: the folder that its archive unpacks to.
        files: the files of each split.
        meta: the file of class names.
        classes: the number of classes.
    """

    name: str
    title: str
    folder: str
    files: Mapping[Split, tuple[str, ...]]
    meta: str
    classes: int

    @abstractmethod
    def is_in(self, folder: Path) -> bool:
        """Whether the folder holds this version, whole or not, by the names of its files."""

    @abstractmethod
    def _part(self, path: Path, limits: Limits) -> Part:
        """The images and labels of one file."""

    @abstractmethod
    def _class_names(self, path: Path, limits: Limits) -> tuple[str, ...]:
        """The class names in the file of class names."""

    def read(self, folder: Path, split: Split, limits: Limits) -> Labelled:
        """Read one split.

        Raises:
            FormatError: if a file is missing or damaged, or holds anything but arrays.
            LimitError: if a file is larger than ``limits.total`` bytes.
        """
        files = tuple(folder / file for file in (*self.files[split], self.meta))
        if missing := [file.name for file in files if not file.is_file()]:
            raise FormatError(
                f"{folder}: no {' and no '.join(missing)}; the {self.title} version of {self.name} has them"
            )
        names = self._class_names(files[-1], limits)
        if len(names) != self.classes:
            raise FormatError(f"{files[-1]}: {len(names)} class names; expected {self.classes}")
        images, labels = zip(*(self._checked(file, limits) for file in files[:-1]), strict=True)
        return Labelled(np.concatenate(images), np.concatenate(labels), names, files)

    def _checked(self, path: Path, limits: Limits) -> Part:
        with at(str(path)):
            check_size(path, limits)
        images, labels = self._part(path, limits)
        if wrong := labels[(labels < 0) | (labels >= self.classes)].tolist():
            raise FormatError(f"{path}: label {wrong[0]} found; there are {self.classes} classes")
        return images, labels

    def _any_in(self, folder: Path) -> bool:
        return any((folder / file).is_file() for files in self.files.values() for file in files)


@dataclass(frozen=True)
class Binary(Version):
    """The binary version; ``label_bytes`` is the number of label bytes in a record, and the last one is the class."""

    label_bytes: int

    @override
    def is_in(self, folder: Path) -> bool:
        return self._any_in(folder)

    @override
    def _part(self, path: Path, limits: Limits) -> Part:
        values, size = np.fromfile(path, np.uint8), self.label_bytes + PIXELS
        if not len(values) or len(values) % size:
            raise FormatError(
                f"{path}: {len(values)} bytes; expected one or more whole records of {size}: damaged or cut off, "
                "fetch it again"
            )
        records = values.reshape(-1, size)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        return records[:, self.label_bytes :].reshape(-1, *SHAPE), labels

    @override
    def _class_names(self, path: Path, limits: Limits) -> tuple[str, ...]:
        return tuple(path.read_text(encoding="utf-8", errors="replace").split())


@dataclass(frozen=True)
class Pickled(Version):
    """The Python version; ``labels`` and ``names`` are the keys of labels and of class names."""

    labels: str
    names: str

    @override
    def is_in(self, folder: Path) -> bool:
        return self._any_in(folder) and (folder.name == self.folder or (folder / self.meta).is_file())

    @override
    def _part(self, path: Path, limits: Limits) -> Part:
        pixels, labels = self._entries(path, ("data", self.labels), limits)
        with at(str(path)):
            if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (PIXELS,):
                raise FormatError(f"data is {_what(pixels)}; an array uint8 [N, {PIXELS}] expected")
            numbers = np.array(labels, None if labels else int) if _is_list(labels, int) else labels
            if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "iu":
                raise FormatError(f"{self.labels} is {_what(labels)}; a list of integers expected")
            if numbers.shape != pixels.shape[:1] or not len(numbers):
                raise FormatError(f"{plural(len(pixels), 'image')} and labels {list(numbers.shape)}; one each expected")
        return pixels.reshape(-1, *SHAPE), numbers.astype(np.int64)

    @override
    def _class_names(self, path: Path, limits: Limits) -> tuple[str, ...]:
        (names,) = self._entries(path, (self.names,), limits)
        with at(str(path)):
            if not _is_list(names, str | bytes):
                raise FormatError(f"{self.names} is {_what(names)}; a list of class names expected")
        return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)

    def _entries(self, path: Path, keys: tuple[str, ...], limits: Limits) -> tuple[Any, ...]:
        try:
            return tuple(read_pickle(path, keys, limits).values())
        except FormatError as error:
            raise FormatError(f"{error}; the binary version ({BINARY[self.name].folder}) is read, too") from error


def _is_list(value: object, kind: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _what(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BINARY: Mapping[str, Version] = {
    "cifar10": Binary(
        "cifar10",
        "binary",
        "cifar-10-batches-bin",
        {"train": tuple(f"{batch}.bin" for batch in _BATCHES), "test": ("test_batch.bin",)},
        "batches.meta.txt",
        10,
        label_bytes=1,
    ),
    "cifar100": Binary(
        "cifar100",
        "binary",
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        "fine_label_names.txt",
        100,
        label_bytes=2,
    ),
}
PICKLED: Mapping[str, Version] = {
    "cifar10": Pickled(
        "cifar10",
        "Python",
        "cifar-10-batches-py",
        {"train": _BATCHES, "test": ("test_batch",)},
        "batches.meta",
        10,
        labels="labels",
        names="label_names",
    ),
    "cifar100": Pickled(
        "cifar100",
        "Python",
        "cifar-100-python",
        {"train": ("train",), "test": ("test",)},
        "meta",
        100,
        labels="fine_labels",
        names="fine_label_names",
    ),
}
NAMES = tuple(BINARY)


def versions(name: str) -> tuple[Version, ...]:
    """The versions of a data set, ``cifar10`` or ``cifar100``; a folder with both is read as the first."""
    return BINARY[name], PICKLED[name]


def version_in(folder: Path) -> Version | None:
    """The version that a folder holds, or None."""
    return next((one for name in NAMES for one in versions(name) if one.is_in(folder)), None)

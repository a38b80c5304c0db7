"""A reader of CIFAR-10 and CIFAR-100 in binary versions; by name also from an ``.npz``, and CIFAR-10 from mosaics.

A file of the binary version consists of records only: the label (CIFAR-100: the coarse, then the fine one), a byte
each, then 3×32×32 bytes, channel by channel, row by row; https://www.cs.toronto.edu/~kriz/cifar.html describes it. The
Python version is a pickle: loading it runs any code that it names, so it is recognised and refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import mosaics
from dsetpack.trainers.data.npz import read_npz
from dsetpack.trainers.data.reader import DataReader, ImageData, either, from_arrays

SHAPE = 3, 32, 32
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Binary:
    """The files of a binary version.

    Attributes:
        folder: the folder that its archive unpacks to.
        files: the files of each split.
        names: the file with the class names, one per line, and the number of classes.
        label_bytes: the number of label bytes in a record; the last one is the class.
        pickled: the folder that the Python version's archive unpacks to, and the files that identify that version.
    """

    folder: str
    files: Mapping[str, tuple[str, ...]]
    names: tuple[str, int]
    label_bytes: int
    pickled: tuple[str, tuple[str, ...]]

    def is_in(self, folder: Path) -> bool:
        """Whether the folder holds any file of the binary version."""
        return any((folder / file).is_file() for files in self.files.values() for file in files)

    def is_pickled_in(self, folder: Path) -> bool:
        """Whether the folder holds the Python version."""
        return all((folder / file).is_file() for file in self.pickled[1])

    def read(self, folder: Path, split: str, name: str) -> ImageData:
        """Read one split.

        Raises:
            FormatError: if a file is missing or damaged, or the folder holds only the Python version.
        """
        if self.is_pickled_in(folder) and not self.is_in(folder):
            raise FormatError(
                f"{folder}: the Python version of {name}, which is a pickle: reading one runs any code that it names. "
                f"Take the binary version ({self.folder}), or hand over a torch dataset (from_torch) or an .npz file"
            )
        if missing := [file for file in (*self.files[split], self.names[0]) if not (folder / file).is_file()]:
            raise FormatError(f"{folder}: no {' and no '.join(missing)}; the binary version of {name} has them")
        parts = [_records(folder / file, self.label_bytes) for file in self.files[split]]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return from_arrays(images, labels, name, self._classes(folder))

    def _classes(self, folder: Path) -> tuple[str, ...]:
        path, count = folder / self.names[0], self.names[1]
        found = tuple(path.read_text(encoding="utf-8", errors="replace").split())
        if len(found) != count:
            raise FormatError(f"{path}: {len(found)} class names; expected {count}, one per line")
        return found


BINARY = {
    "cifar10": Binary(
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
        ("batches.meta.txt", 10),
        label_bytes=1,
        pickled=("cifar-10-batches-py", ("data_batch_1", "test_batch")),
    ),
    "cifar100": Binary(
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        ("fine_label_names.txt", 100),
        label_bytes=2,
        pickled=("cifar-100-python", ("train", "test", "meta")),
    ),
}


def _records(path: Path, label_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images, uint8 [N, 3, 32, 32], and the labels [N] of one file."""
    values, size = np.fromfile(path, np.uint8), label_bytes + PIXELS
    if not len(values) or len(values) % size:
        raise FormatError(
            f"{path}: {len(values)} bytes; expected one or more whole records of {size}: damaged or cut off, "
            "fetch it again"
        )
    records = values.reshape(-1, size)
    return records[:, label_bytes:].reshape(-1, *SHAPE), records[:, label_bytes - 1]


class CifarReader(DataReader):
    """Reads CIFAR-10 and CIFAR-100 (fine labels) by name, and any folder with the files of their binary versions."""

    names: ClassVar[tuple[str, ...]] = tuple(sorted(BINARY))

    @override
    def load(self, name: str, root: Path | None, split: str) -> ImageData:
        binary = BINARY[name]
        also = f", {name}.npz" + (" or the mosaics" if name == "cifar10" else "")
        if root is None:
            raise FormatError(f"{name} needs its files: give the folder that holds {binary.folder}/{also} as --root")
        if (npz := root / f"{name}.npz").is_file():
            return read_npz(npz, split, name)
        folders = (root, root / name, root / binary.folder, root / name / binary.folder)
        for folder in folders:
            if binary.is_in(folder):
                return binary.read(folder, split, name)
            if name == "cifar10" and mosaics.are_in(folder):
                return mosaics.read_mosaics(folder, split)
        for folder in (root, root / name, root / binary.pickled[0], root / name / binary.pickled[0]):
            if binary.is_pickled_in(folder):
                return binary.read(folder, split, name)  # raises and says why
        raise FormatError(f"{name}: neither {npz} nor {binary.files[split][0]} in {either(folders)}")

    @override
    def accepts(self, path: Path) -> bool:
        return _name(path) is not None

    @override
    def read(self, path: Path, split: str) -> ImageData:
        name = _name(path)
        assert name is not None
        return BINARY[name].read(path, split, name)


def _name(folder: Path) -> str | None:
    """The name of the data set that a folder holds, or None."""
    return next((name for name, one in BINARY.items() if one.is_in(folder) or one.is_pickled_in(folder)), None)


READERS = (CifarReader(),)

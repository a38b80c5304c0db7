"""IDX files, the format of MNIST and Fashion-MNIST, gzipped or not.

An IDX file is a big-endian header (two zero bytes, a type code, the number of axes, then each axis as a uint32)
followed by the values; http://yann.lecun.com/exdb/mnist/ describes it. Images and labels are unsigned bytes (0x08).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.files.limited import DEFLATE
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.words import plural
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays, places, searched, used_classes

BYTES = 0x08
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CALLED = {"fashion-mnist": "FashionMNIST", "mnist": "MNIST"}
"""What torchvision calls the folder of each data set; it keeps the files in ``raw`` inside."""
_ALIKE = frozenset(("mnist", "fashionmnist", "kmnist", "emnist", "qmnist"))
"""Folders of these names, whatever the case and hyphens, hold files of the same names, but other images."""
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
DIGITS = tuple("0123456789")


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read the array in an IDX file of unsigned bytes with ``axes`` axes; gzip is recognised by its content.

    Raises:
        FormatError: if it is not such a file (wrong magic), is damaged or truncated, or has bytes left over.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            most = path.stat().st_size * (DEFLATE if zipped else 1)
            return _values(cast(BinaryIO, gzip.GzipFile(fileobj=file)) if zipped else file, path, axes, most)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path}: the gzip stream is damaged or cut off ({error}); fetch the file again") from error


def _values(file: BinaryIO, path: Path, axes: int, most: int) -> NDArray[np.uint8]:
    """The array; ``most`` bytes can be in the file, so no memory is allocated for more."""
    magic = file.read(4)
    expected = bytes((0, 0, BYTES, axes))
    if magic != expected:
        raise FormatError(
            f"{path}: begins with {magic.hex(' ')}; an IDX file of {axes} axes begins with {expected.hex(' ')}"
        )
    header = file.read(4 * axes)
    if len(header) < 4 * axes:
        raise FormatError(f"{path}: ends inside its header: {4 + len(header)} bytes, {4 + 4 * axes} expected")
    shape = struct.unpack(f">{axes}I", header)
    size = math.prod(shape)
    if size > most:
        raise FormatError(f"{path}: the header says {list(shape)} = {size} bytes; the file holds at most {most}")
    values = file.read(size + 1)
    if len(values) != size:
        found = f"only {len(values)}" if len(values) < size else "more"
        raise FormatError(f"{path}: the header says {list(shape)} = {size} bytes; {found} follow")
    return np.frombuffer(values, np.uint8).reshape(shape)


class IdxReader(DataReader):
    """Reads MNIST and Fashion-MNIST by name, and any folder with files named like theirs."""

    names: ClassVar[tuple[str, ...]] = tuple(sorted(CALLED))

    @override
    def load(self, name: str, root: Path | None, split: str) -> ImageData:
        if root is None:
            raise FormatError(f"{name} needs its files: give the folder that holds {FILES['train'][0]}.gz as --root")
        folders = places(root, ("", name, CALLED[name], f"{name}/{CALLED[name]}"), ("", "raw"))
        found = [folder for folder in folders if all(_find(folder, file) for file in FILES[split])]
        for folder in found:
            if _own_name(folder) in (None, CALLED[name].lower()):
                return self._read(folder, split, name, FASHION if name == "fashion-mnist" else DIGITS)
        if found:
            raise FormatError(f"{found[0]}: not {name}, by its name; give the folder that holds {name} as --root")
        raise FormatError(f"{name}: no {' and '.join(FILES[split])} (with or without .gz) in {searched(root, folders)}")

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and any(_find(path, file) for pair in FILES.values() for file in pair)

    @override
    def read(self, path: Path, split: str) -> ImageData:
        if missing := [file for file in FILES[split] if not _find(path, file)]:
            raise FormatError(f"{path}: no {missing[0]} (with or without .gz)")
        labels = [read_idx(file, 1) for _, name in FILES.values() if (file := _find(path, name))]
        with at(str(path)):
            classes = used_classes(labels)
        return self._read(path, split, path.name, classes)

    def _read(self, folder: Path, split: str, name: str, classes: tuple[str, ...]) -> ImageData:
        images, labels = (_find(folder, file) for file in FILES[split])
        assert images is not None
        assert labels is not None
        x, y = read_idx(images, 3), read_idx(labels, 1)
        if len(x) != len(y):
            raise FormatError(
                f"{images} has {plural(len(x), 'image')}, {labels} has {plural(len(y), 'label')}: they do not match"
            )
        return from_arrays(x, y, name, classes)


def _own_name(folder: Path) -> str | None:
    """The data set that a folder is named after; None if its name says none."""
    place = folder.absolute()
    called = (place.parent if place.name == "raw" else place).name.lower().replace("-", "").replace("_", "")
    return called if called in _ALIKE else None


def _find(folder: Path, name: str) -> Path | None:
    """The file with or without ``.gz``; torchvision's spelling with a dot is accepted, too."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for path in (folder / f"{spelling}.gz", folder / spelling):
            if path.is_file():
                return path
    return None


READERS = (IdxReader(),)

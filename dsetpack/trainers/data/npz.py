"""A reader of ``.npz`` files with ``x_train``, ``y_train``, ``x_test``, ``y_test``, as Keras and many others write."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.formats.errors import FormatError, at
from dsetpack.labelled.splits import named_arrays, split_arrays
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays, used_classes

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_npz(path: Path, split: str, name: str | None = None) -> ImageData:
    """Read one split of an ``.npz`` file.

    Args:
        path: the file. Class names come from an array ``classes`` in it, if there is one; otherwise they are CIFAR-10's
            if the file is called ``cifar10.npz``, or numbers.
        split: ``train`` or ``test``.
        name: the data's name; by default the file's.

    Raises:
        FormatError: see ``arrays_of``.
    """
    images, labels, classes = arrays_of(path, split)
    known = classes or (CIFAR10 if path.stem == "cifar10" else _used(path))
    return from_arrays(images, labels, name or path.stem, known)


def arrays_of(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any], tuple[str, ...] | None]:
    """Read images, labels and, if the file has an array ``classes``, class names.

    Raises:
        FormatError: if it is not such a file, is damaged, or lacks an array.
        FormatError: if an array is a single value, or holds objects, which would be pickled code.
    """
    with at(str(path)):
        names, _ = _load(path, ())
    pair, _ = named_arrays(names, split, str(path))
    with at(str(path)):
        if pair.labels is None:
            raise FormatError(f"no array of labels for {pair.images!r}; it holds {', '.join(sorted(names))}")
        _, found = _load(path, (pair.images, pair.labels, "classes"))
        for key, values in found.items():
            if not values.ndim:
                raise FormatError(f"{key} is a single value; an array expected")
    return found[pair.images], found[pair.labels], tuple(map(str, found["classes"])) if "classes" in found else None


def _used(path: Path) -> tuple[str, ...] | None:
    """The classes that the labels of all splits use, so that both have the same; None if there are no splits."""
    with at(str(path)):
        names, _ = _load(path, ())
        _, found = _load(path, [pair.labels for pair in split_arrays(names).values() if pair.labels])
        return used_classes(found.values()) if found else None


def _load(path: Path, wanted: Collection[str]) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """The names of all arrays, and the wanted arrays that exist."""
    if not zipfile.is_zipfile(path):
        raise FormatError("not a .npz file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays.files, {key: arrays[key] for key in wanted if key in arrays.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise FormatError(f"not a readable .npz file ({error})") from error
    except ValueError as error:
        raise FormatError(f"an array that is not plain numbers ({error})") from error


class NpzReader(DataReader):
    """Reads any ``.npz`` file."""

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_file() and path.suffix == ".npz"

    @override
    def read(self, path: Path, split: str) -> ImageData:
        return read_npz(path, split)


READERS = (NpzReader(),)

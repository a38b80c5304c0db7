"""A reader of ``.npz`` files with ``x_train``, ``y_train``, ``x_test``, ``y_test``, as Keras and many others write."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.formats.errors import FormatError, at
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays

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
    known = classes or (CIFAR10 if path.stem == "cifar10" else None)
    return from_arrays(images, labels, name or path.stem, known)


def arrays_of(path: Path, split: str) -> tuple[NDArray[Any], NDArray[Any], tuple[str, ...] | None]:
    """Read images, labels and, if the file has an array ``classes``, class names.

    Raises:
        FormatError: if it is not such a file, is damaged, or lacks an array.
        FormatError: if an array is a single value, or holds objects, which would be pickled code.
    """
    keys = (f"x_{split}", f"y_{split}")
    with at(str(path)):
        held, found = _load(path, (*keys, "classes"))
        if missing := [key for key in keys if key not in found]:
            raise FormatError(f"no array {missing[0]!r}; it holds {', '.join(sorted(held))}")
        for key, values in found.items():
            if not values.ndim:
                raise FormatError(f"{key} is a single value; an array expected")
    classes = tuple(map(str, found["classes"])) if "classes" in found else None
    return found[f"x_{split}"], found[f"y_{split}"], classes


def _load(path: Path, wanted: tuple[str, ...]) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """The names of all arrays, and the wanted arrays that exist."""
    if not zipfile.is_zipfile(path):
        raise FormatError("not a .npz file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays.files, {key: arrays[key] for key in wanted if key in arrays.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise FormatError(f"not a readable .npz file ({error})") from error
    except ValueError as error:
        raise FormatError(
            "an array of objects, not plain numbers, or a damaged one: save plain numbers, such as "
            "np.savez(path, x_train=np.stack(images), y_train=np.array(labels), ...)"
        ) from error


class NpzReader(DataReader):
    """Reads any ``.npz`` file."""

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_file() and path.suffix == ".npz"

    @override
    def read(self, path: Path, split: str) -> ImageData:
        return read_npz(path, split)


READERS = (NpzReader(),)

"""``.npz`` files with ``x_train``, ``y_train``, ``x_test``, ``y_test``, as Keras and many scripts write them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.base import ImageData, Reader, from_arrays

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_npz(path: Path, split: str, classes: tuple[str, ...] | None = None, name: str | None = None) -> ImageData:
    """One split of an ``.npz`` file. Class names come from an array ``classes`` in it, if it has one.

    Raises:
        FormatError: not such a file, or an array is missing; object arrays are refused (they hold pickled code).
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := [key for key in (f"x_{split}", f"y_{split}") if key not in arrays.files]:
                raise FormatError(f"{path}: no array {missing[0]!r}; it holds {', '.join(sorted(arrays.files))}")
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
            if "classes" in arrays.files:
                classes = tuple(str(c) for c in arrays["classes"])
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise FormatError(f"{path}: not a readable .npz file ({error})") from error
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: an array that is not plain numbers ({error})") from error
    return from_arrays(images, labels, name or path.stem, classes)


class Npz(Reader):
    """Any ``.npz`` file."""

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_file() and path.suffix == ".npz"

    @override
    def read(self, path: Path, split: str) -> ImageData:
        return read_npz(path, split, CIFAR10 if path.stem == "cifar10" else None)


READERS = (Npz(),)

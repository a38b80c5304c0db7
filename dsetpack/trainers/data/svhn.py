"""A reader of SVHN, cropped digits: the MATLAB 5 files ``train_32x32.mat`` and ``test_32x32.mat``, or ``svhn.npz``.

A file holds ``X``, uint8 [32, 32, 3, N], and ``y``, [N, 1] with labels 1 to 10, where 10 means the digit 0;
http://ufldl.stanford.edu/housenumbers/ describes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.files.splits import Split
from dsetpack.formats.axes import seen
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.idx import DIGITS
from dsetpack.trainers.data.matlab import read_matlab
from dsetpack.trainers.data.npz import arrays_of
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays, places, searched

NAME = "svhn"
FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


class SvhnReader(DataReader):
    """Reads SVHN by name, from a folder with its files, or from one of them."""

    names: ClassVar[tuple[str, ...]] = (NAME,)

    @override
    def load(self, name: str, root: Path | None, split: Split) -> ImageData:
        if root is None:
            raise FormatError(f"{name} needs its files: give the folder that holds {FILES[split]} as --root")
        if (npz := root / f"{NAME}.npz").is_file():
            images, labels, _ = arrays_of(npz, split)
            return from_arrays(images, _digits(labels, npz), name, DIGITS, axes=seen(images.shape))
        folders = places(root, ("", NAME, "SVHN"))
        for folder in folders:
            if (folder / FILES[split]).is_file():
                return _read_mat(folder / FILES[split])
        raise FormatError(f"{name}: neither {npz} nor {FILES[split]} in {searched(root, folders)}")

    @override
    def accepts(self, path: Path) -> bool:
        return path.suffix == ".mat" or any((path / file).is_file() for file in FILES.values())

    @override
    def read(self, path: Path, split: str) -> ImageData:
        file = path / FILES[split] if path.is_dir() else path.with_name(FILES[split])
        if not file.is_file():
            raise FormatError(f"{file}: no such file; SVHN's {split} split is called {FILES[split]}")
        return _read_mat(file)


def _read_mat(path: Path) -> ImageData:
    found = read_matlab(path)
    if missing := [key for key in ("X", "y") if key not in found]:
        raise FormatError(f"{path}: no array {missing[0]!r}; SVHN's files hold X and y")
    images, labels = found["X"], found["y"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise FormatError(f"{path}: X is {images.dtype} {list(images.shape)}; expected uint8 [32, 32, 3, N]")
    return from_arrays(images.transpose(3, 2, 0, 1), _digits(labels, path), NAME, DIGITS, axes="NCHW")


def _digits(labels: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """The digits that labels stand for; label 10 means 0."""
    digits = np.ravel(labels)
    if digits.dtype.kind not in "iuf" or not np.isin(digits, np.arange(11)).all():
        raise FormatError(f"{path}: labels are not all whole numbers from 0 to 10, where 10 means the digit 0")
    return digits.astype(np.int64) % 10


READERS = (SvhnReader(),)

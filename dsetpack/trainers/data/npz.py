"""A reader of ``.npz`` files, and of folders of ``.npy`` files, with images and labels under their usual names.

These are ``x_train``, ``y_train``, ``x_test``, ``y_test``, as Keras and many others write, or one of the other pairs
that ``dsetpack/files/names.py`` lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.files.arrays import SUFFIX, load_arrays, names_in
from dsetpack.files.names import images_in, labels_name, usual, usual_splits
from dsetpack.files.splits import Split
from dsetpack.formats.axes import Axes, seen
from dsetpack.formats.errors import FormatError, at
from dsetpack.trainers.data.reader import REAL, DataReader, ImageData, from_arrays, used_classes

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_npz(
    path: Path,
    split: Split,
    name: str | None = None,
    like: str | None = None,
    *,
    axes: Axes | None = None,
    drop_alpha: bool = False,
) -> ImageData:
    """Read one split of an ``.npz`` file, or of a folder of ``.npy`` files.

    Args:
        path: the file or folder. Class names come from an array ``classes`` in it, if there is one; otherwise they are
            CIFAR-10's if the file is called ``cifar10.npz``, or numbers.
        split: ``train`` or ``test``. Arrays whose names say no split are training images.
        name: the data's name; by default the file's.
        like: the name of images of any split; only those and their like are read.
        axes, drop_alpha: as for ``from_arrays``.

    Raises:
        FormatError: see ``arrays_of`` and ``from_arrays``.
    """
    images, labels, classes = arrays_of(path, split, like)
    known = classes or (CIFAR10 if path.stem == "cifar10" else _used(path, like))
    return from_arrays(images, labels, name or path.resolve().stem, known, axes=axes, drop_alpha=drop_alpha)


def read_known(path: Path, split: Split, name: str) -> ImageData:
    """Read one split of an ``.npz`` file that holds a data set known by name.

    Its axes are never asked for: no reading but the one that its shape shows fits such a data set.

    Raises:
        FormatError: see ``read_npz``.
    """
    images, labels, classes = arrays_of(path, split)
    known = classes or (CIFAR10 if name == "cifar10" else _used(path, None))
    return from_arrays(images, labels, name, known, axes=seen(images.shape))


def arrays_of(
    path: Path, split: Split, like: str | None = None
) -> tuple[NDArray[Any], NDArray[Any], tuple[str, ...] | None]:
    """Read images, labels and, if there is an array ``classes``, class names.

    Raises:
        FormatError: if it is not such a file or folder, is damaged, or lacks an array or the split.
        FormatError: if an array is a single value, or holds objects, which would be pickled code.
    """
    names = names_in(path, REAL)
    (images, labels, classes), _ = usual(names, split, str(path), like)
    if labels is None:
        raise FormatError(f"{path}: no labels {labels_name(images)} for {images}; it holds {', '.join(names)}")
    found = load_arrays(path, [name for name in (images, labels, classes) if name], REAL)
    with at(str(path)):
        for key, values in found.items():
            if not values.ndim:
                raise FormatError(f"{key} is a single value; an array expected")
    return found[images], found[labels], tuple(map(str, found[classes])) if classes else None


def _used(path: Path, like: str | None) -> tuple[str, ...]:
    """The classes that the labels of all splits use, so that both have the same."""
    names = [found.labels for found in usual_splits(names_in(path, REAL), like).values() if found.labels]
    with at(str(path)):
        return used_classes(load_arrays(path, names, REAL).values())


class NpzReader(DataReader):
    """Reads any ``.npz`` file."""

    takes: ClassVar[tuple[str, ...]] = ("axes", "drop_alpha")

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_file() and path.suffix == ".npz"

    @override
    def read(self, path: Path, split: Split, *, axes: Axes | None = None, drop_alpha: bool = False) -> ImageData:
        return read_npz(path, split, axes=axes, drop_alpha=drop_alpha)


class NpyReader(DataReader):
    """Reads a folder of ``.npy`` files, or an ``.npy`` file of images with those beside it that go with it."""

    takes: ClassVar[tuple[str, ...]] = ("axes", "drop_alpha")
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return bool(images_in(names_in(path, REAL))) if path.is_dir() else path.suffix == SUFFIX

    @override
    def read(self, path: Path, split: Split, *, axes: Axes | None = None, drop_alpha: bool = False) -> ImageData:
        if path.is_dir():
            return read_npz(path, split, axes=axes, drop_alpha=drop_alpha)
        return read_npz(path.parent, split, path.stem, path.stem, axes=axes, drop_alpha=drop_alpha)


READERS = (NpzReader(), NpyReader())

"""``npy``: images and labels as ``.npy`` files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from dsetpack.convert.base import LABEL_RULES, Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.convert.npz import found_in, usual_in
from dsetpack.files.arrays import SUFFIX, names_in
from dsetpack.files.names import Usual, images_in, labels_for, split_of
from dsetpack.files.splits import Split
from dsetpack.formats.errors import FormatError
from dsetpack.formats.limits import Limits
from dsetpack.formats.notices import notice


class NpyLayout(Layout):
    """One array a file, under the names that layout ``npz`` takes; or an ``.npy`` file of images under any name.

    The labels of a single file are those that are declared, or those beside it under the usual name.
    """

    recognised: ClassVar[str] = (
        "x.npy, with --labels y.npy or with y.npy beside it; a folder of both (images.npy and labels.npy, or "
        "x_train.npy, y_train.npy, x_test.npy, y_test.npy)"
    )
    unknown: ClassVar[str] = "pixel space of floats (8-bit images are raw); lr"
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        if not path.is_dir():
            return path.suffix == SUFFIX
        return bool(images_in(names_in(path, Limits())))

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "npy")
        refuse_experiment(given, "npy")
        if path.is_dir():
            return _found(path, *usual_in(path, given), given)
        split = split_of(path.stem)
        if split and given.split not in (None, split):
            raise FormatError(
                f"{path.name}: the {split} split, by its name; name the file of the {given.split} split instead, or "
                "the folder of both"
            )
        return _found(path.parent, _beside(path, given), split, given)


def _found(folder: Path, names: Usual, split: Split | None, given: Given) -> Found:
    files = tuple(folder / f"{name}{SUFFIX}" for name in (names.images, names.labels) if name)
    found = found_in(folder, names, split, files, given)
    images, *labels = (file.name for file in files)
    return replace(
        found,
        where=images,
        labels_where=labels[0] if labels else "labels",
        labels_hint=f"none is beside it under a usual name, such as y{SUFFIX} beside x{SUFFIX}",
    )


def _beside(path: Path, given: Given) -> Usual:
    """The images that the user names, and the labels beside them unless these are declared."""
    images = path.stem
    if given.labels is not None and (given.labels == "order" or given.labels not in LABEL_RULES):
        return Usual(images, None, None)
    labels = labels_for(images, names_in(path.parent, given.limits))
    if labels is not None:
        notice(f"{path.name}: its labels are taken from {labels}{SUFFIX} beside it; --labels names others")
    return Usual(images, labels, None)


LAYOUT = NpyLayout()

"""A reader of Tiny ImageNet: the folder ``tiny-imagenet-200`` as unpacked, or a ``tiny-imagenet.npz``.

``wnids.txt`` lists the 200 classes, ``words.txt`` says what they mean, ``train/<wnid>/images`` holds each class's JPEG
files, and ``val/val_annotations.txt`` gives the class of each file in ``val/images``. The ``test`` folder has no
labels, so the split ``test`` is ``val``, as in all papers.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from typing_extensions import override

from dsetpack.files.folders import image_files
from dsetpack.files.pixels import stacked
from dsetpack.files.splits import Split
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.npz import read_known
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays, searched

NAME, UNPACKED = "tiny-imagenet", "tiny-imagenet-200"
WNIDS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val_annotations.txt"


class TinyReader(DataReader):
    """Reads Tiny ImageNet by name or from its folder. Classes are in the order of ``wnids.txt``."""

    names: ClassVar[tuple[str, ...]] = (NAME,)

    @override
    def load(self, name: str, root: Path | None, split: Split) -> ImageData:
        if root is None:
            raise FormatError(f"{name} needs its files: give the folder that holds {UNPACKED}/ as --root")
        if (npz := root / f"{NAME}.npz").is_file():
            return read_known(npz, split, name)
        folders = (root, root / UNPACKED, root / NAME, root / NAME / UNPACKED)
        for folder in folders:
            if self.accepts(folder):
                return self.read(folder, split)
        raise FormatError(f"{name}: neither {npz} nor {WNIDS} in {searched(root, folders)}")

    @override
    def accepts(self, path: Path) -> bool:
        return (path / WNIDS).is_file()

    @override
    def read(self, path: Path, split: str) -> ImageData:
        wnids = _lines(path / WNIDS)
        words = dict(line.split("\t", 1) for line in _lines(path / WORDS) if "\t" in line)
        files = _train(path, wnids) if split == "train" else _val(path, wnids)
        labels = np.array([label for _, label in files])
        classes = [words.get(wnid, wnid) for wnid in wnids]
        return from_arrays(stacked([file for file, _ in files], "RGB"), labels, NAME, classes, axes="NCHW")


def _train(path: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    found = []
    for label, wnid in enumerate(wnids):
        folder = path / "train" / wnid / "images"
        if not (files := image_files(folder)):
            raise FormatError(f"{folder}: no image files there, and {WNIDS} names the class {wnid}")
        found += [(file, label) for file in files]
    return found


def _val(path: Path, wnids: list[str]) -> list[tuple[Path, int]]:
    table, number = path / "val" / ANNOTATIONS, {wnid: label for label, wnid in enumerate(wnids)}
    found = []
    for count, line in enumerate(_lines(table), 1):
        name, wnid = (*line.split("\t"), "")[:2]
        if wnid not in number:
            raise FormatError(f"{table}: line {count} gives {name!r} the class {wnid!r}, which is not in {WNIDS}")
        if Path(name).name != name:
            raise FormatError(f"{table}: line {count} names {name!r}; expected a file in val/images")
        found.append((path / "val" / "images" / name, number[wnid]))
    return found


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FormatError(f"{path}: no such file; {UNPACKED}/ has one")
    if not (
        lines := [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    ):
        raise FormatError(f"{path}: an empty file")
    return lines


READERS = (TinyReader(),)

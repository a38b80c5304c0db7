"""A reader of folders with one sub-folder of image files per class, or with ``train`` and ``test`` folders of those."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from dsetpack.files.folders import read_folder
from dsetpack.files.pixels import stacked
from dsetpack.files.splits import Split
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays


class FolderReader(DataReader):
    """Reads sub-folders as classes, numbered ones by number, and files in sorted order. Grey images have 1 channel."""

    takes: ClassVar[tuple[str, ...]] = ("drop_alpha",)
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and any(child.is_dir() for child in path.iterdir())

    @override
    def read(self, path: Path, split: Split, *, drop_alpha: bool = False) -> ImageData:
        found = read_folder(path, split)
        images = stacked(found.files, drop_alpha=drop_alpha)
        return from_arrays(images, found.labels, path.name, found.classes, axes="NCHW")


READERS = (FolderReader(),)

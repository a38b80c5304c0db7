"""A folder with one sub-folder of image files per class, or with a folder of those per split."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsetpack.files.classes import in_order
from dsetpack.files.splits import Split, split_folders, subfolders, taken
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))


class Listing(NamedTuple):
    """The image files of a folder, class by class.

    Attributes:
        files: the image files, N of them.
        labels: int64 [N], indices into ``classes``.
        classes: the names of the class folders; a class may have no images.
        split: the split that was read; None if the folder has no splits.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    split: Split | None


def read_folder(path: Path, split: Split | None = None) -> Listing:
    """List the image files of a folder: classes in the order of ``in_order``, the files of each sorted by name.

    All splits have the classes of ``train``.

    Args:
        path: a folder.
        split: the split to read; None for ``train``, or for the only one, with a notice. A folder without splits is
            its own ``train``.

    Raises:
        FormatError: if there are no images, if the folder does not have the split, or if the split has a class that
            ``train`` does not have.
    """
    splits = split_folders(path)
    if not splits and split == "test":
        raise FormatError(f"{path}: the test split needs the folders 'train' and 'test', each with a folder per class")
    chosen = taken(splits, split, str(path)) if splits else None
    root = splits[chosen] if chosen else path
    classes = class_names(splits.get("train", root))
    if unknown := [name for name in class_names(root) if name not in classes]:
        raise FormatError(f"{root / unknown[0]}: {splits['train']} has no such class; all splits have the same classes")
    found = [(file, label) for label, name in enumerate(classes) for file in image_files(root / name)]
    if not found:
        raise FormatError(
            f"{root}: no image files in its {plural(len(classes), 'sub-folder')}; expected one sub-folder per class"
        )
    return Listing(tuple(file for file, _ in found), np.array([label for _, label in found]), classes, chosen)


def class_names(path: Path) -> tuple[str, ...]:
    """The names of a folder's classes, its visible sub-folders, in order."""
    return tuple(in_order(folder.name for folder in subfolders(path)))


def image_files(folder: Path) -> list[Path]:
    """All image files in a folder and its sub-folders, sorted; none if it does not exist."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def has_images(path: Path) -> bool:
    """Whether any sub-folder has image files."""
    return any(map(image_files, subfolders(path)))

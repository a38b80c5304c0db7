"""A folder with one sub-folder of image files a class, or with ``train`` and ``test`` folders of those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.base import ImageData, Reader, from_arrays

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
TEST_FOLDERS = ("test", "val", "validation")


class Folder(Reader):
    """Classes are the sub-folders' names in sorted order; files are read in sorted order. Grey stays 1 channel."""

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and any(child.is_dir() for child in path.iterdir())

    @override
    def read(self, path: Path, split: str) -> ImageData:
        root = _split_folder(path, split)
        folders = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
        files = [(file, label) for label, folder in enumerate(folders) for file in _files(folder)]
        if not files:
            raise FormatError(
                f"{root}: no image files in its {len(folders)} sub-folders; expected one sub-folder a class"
            )
        grey = all(_is_grey(file) for file, _ in files)
        images = [_pixels(file, "L" if grey else "RGB") for file, _ in files]
        for (file, _), image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                raise FormatError(
                    f"{file} is {_size(image)} and {files[0][0]} is {_size(images[0])} (height×width): "
                    "all images must have one size; resize them first"
                )
        stacked = np.stack(images)
        x = stacked[:, None] if grey else stacked.transpose(0, 3, 1, 2)
        return from_arrays(x, np.array([label for _, label in files]), path.name, [f.name for f in folders])


def _split_folder(path: Path, split: str) -> Path:
    if not (path / "train").is_dir():
        if split == "train":
            return path
        raise FormatError(f"{path}: the test split needs the folders 'train' and 'test', each with one folder a class")
    names = ("train",) if split == "train" else TEST_FOLDERS
    for name in names:
        if (path / name).is_dir():
            return path / name
    raise FormatError(f"{path}: has a folder 'train' but none of {', '.join(names)}")


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _is_grey(path: Path) -> bool:
    return _open(path).mode in ("1", "L", "LA")


def _pixels(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        return np.asarray(_open(path).convert(mode))
    except (OSError, SyntaxError) as error:
        raise FormatError(f"{path}: a damaged image file ({error})") from error


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise FormatError(f"{path}: not an image file") from error


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[0]}×{image.shape[1]}"


READERS = (Folder(),)

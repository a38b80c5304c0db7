"""A reader of folders with one sub-folder of image files per class, or with ``train`` and ``test`` folders of those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.trainers.data.reader import DataReader, ImageData, from_arrays

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
TEST_FOLDERS = ("test", "val", "validation")


class FolderReader(DataReader):
    """Reads sub-folders as classes, in sorted order, and files in sorted order. Grey images have 1 channel."""

    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and any(child.is_dir() for child in path.iterdir())

    @override
    def read(self, path: Path, split: str) -> ImageData:
        root = _split_folder(path, split)
        folders = sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))
        files = [(file, label) for label, folder in enumerate(folders) for file in image_files(folder)]
        if not files:
            raise FormatError(
                f"{root}: no image files in its {plural(len(folders), 'sub-folder')}; expected one sub-folder per class"
            )
        images = stacked([file for file, _ in files])
        return from_arrays(images, np.array([label for _, label in files]), path.name, [f.name for f in folders])


def stacked(files: Sequence[Path], mode: Literal["L", "RGB"] | None = None) -> NDArray[np.uint8]:
    """Read the pixels of image files into one array, uint8 [N, C, H, W].

    Args:
        files: the files, at least one.
        mode: grey or colour; None for grey if all images are grey, and for colour otherwise.

    Raises:
        FormatError: if a file is not an image, is damaged, has more than 8 bits per channel, or differs in size from
            the first.
    """
    mode = mode or ("L" if all(_is_grey(file) for file in files) else "RGB")
    first = _pixels(files[0], mode)
    result = np.empty((len(files), *first.shape), np.uint8)
    for place, file in enumerate(files):
        image = _pixels(file, mode)
        if image.shape != first.shape:
            raise FormatError(
                f"{file} is {_size(image)} and {files[0]} is {_size(first)} (height × width): "
                "all images must have one size; resize them first"
            )
        result[place] = image
    return result[:, None] if mode == "L" else result.transpose(0, 3, 1, 2)


def _split_folder(path: Path, split: str) -> Path:
    if not (path / "train").is_dir():
        if split == "train":
            return path
        raise FormatError(f"{path}: the test split needs the folders 'train' and 'test', each with a folder per class")
    names = ("train",) if split == "train" else TEST_FOLDERS
    for name in names:
        if (path / name).is_dir():
            return path / name
    raise FormatError(f"{path}: has a folder 'train' but none of {', '.join(names)}")


def image_files(folder: Path) -> list[Path]:
    """All image files in a folder and its sub-folders, sorted."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _is_grey(path: Path) -> bool:
    with _open(path) as image:
        return image.mode in ("1", "L", "LA")


def _pixels(path: Path, mode: str) -> NDArray[np.uint8]:
    with _open(path) as image:
        if image.mode.startswith(("I", "F")):  # converting would clip the values
            raise FormatError(f"{path}: pixels of mode {image.mode} found; 8 bits per channel expected")
        try:
            return np.asarray(image.convert(mode))
        except (OSError, SyntaxError) as error:
            raise FormatError(f"{path}: a damaged image file ({error})") from error


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise FormatError(f"{path}: not an image file") from error
    except OSError as error:
        raise FormatError(f"{path}: a damaged image file ({error})") from error


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[0]}×{image.shape[1]}"


READERS = (FolderReader(),)

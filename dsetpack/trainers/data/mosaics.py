"""A reader of CIFAR-10 in lossless WebP mosaics of 50×50 images, with ``<split>_labels.npy``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from dsetpack.files.arrays import load_npy
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.trainers.data.npz import CIFAR10
from dsetpack.trainers.data.reader import REAL, DataReader, ImageData, from_arrays

SIDE, TILES = 32, 50


def are_in(folder: Path) -> bool:
    """Whether a folder holds mosaics of either split, and the labels of either."""
    splits = ("train", "test")
    labelled = any((folder / f"{split}_labels.npy").is_file() for split in splits)
    return labelled and any(True for split in splits for _ in folder.glob(f"{split}_*.webp"))


def read_mosaics(folder: Path, split: str) -> ImageData:
    """Read one split.

    Raises:
        FormatError: if labels or mosaics are missing, or their numbers differ.
        FormatError: if the labels are damaged, or a mosaic has the wrong size.
    """
    path = folder / f"{split}_labels.npy"
    if not path.is_file():
        raise FormatError(f"{folder}: no {path.name} for the mosaics {split}_*.webp")
    labels = load_npy(path, REAL)
    files = sorted(folder.glob(f"{split}_*.webp"))
    images = np.concatenate([_tiles(file) for file in files]) if files else np.empty((0, 3, SIDE, SIDE), np.uint8)
    if len(images) != len(labels):
        raise FormatError(
            f"{folder}: {plural(len(files), 'mosaic')} {split}_*.webp hold {plural(len(images), 'image')}; "
            f"{plural(len(labels), 'label')}"
        )
    return from_arrays(images, labels, "cifar10", CIFAR10, axes="NCHW")


def _tiles(path: Path) -> NDArray[np.uint8]:
    """The images of a mosaic, uint8 [2500, 3, 32, 32], row by row."""
    mosaic = np.asarray(Image.open(path).convert("RGB"))
    size = (TILES * SIDE, TILES * SIDE, 3)
    if mosaic.shape != size:
        raise FormatError(f"{path}: {list(mosaic.shape)}; a mosaic of {TILES}×{TILES} images is {list(size)}")
    split = mosaic.reshape(TILES, SIDE, TILES, SIDE, 3)
    return split.transpose(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE)


class MosaicsReader(DataReader):
    """Reads a folder of mosaics. By name, ``cifar10`` finds them."""

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and are_in(path)

    @override
    def read(self, path: Path, split: str) -> ImageData:
        return read_mosaics(path, split)


READERS = (MosaicsReader(),)

"""CIFAR-10 from lossless WebP mosaics of 50×50 images (with ``<split>_labels.npy``), or from a ``cifar10.npz``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.base import ImageData, Reader, from_arrays
from dsetpack.trainers.data.npz import CIFAR10, read_npz

SIDE, TILES = 32, 50


class Cifar10(Reader):
    """CIFAR-10 by name: mosaics, or an ``.npz`` made of them."""

    names: ClassVar[tuple[str, ...]] = ("cifar10",)

    @override
    def load(self, name: str, root: Path | None, split: str) -> ImageData:
        if root is None:
            raise FormatError(f"{name} needs its files: give the folder with cifar10.npz or the mosaics as --root")
        if (root / "cifar10.npz").is_file():
            return read_npz(root / "cifar10.npz", split, CIFAR10, name)
        for folder in (root, root / "cifar10"):
            if (folder / f"{split}_labels.npy").is_file():
                return self.read(folder, split)
        raise FormatError(
            f"{name}: neither {root / 'cifar10.npz'} nor {split}_labels.npy with {split}_*.webp in it or in {name}/"
        )

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and (path / "train_labels.npy").is_file() and any(path.glob("train_*.webp"))

    @override
    def read(self, path: Path, split: str) -> ImageData:
        labels = np.load(path / f"{split}_labels.npy", allow_pickle=False)
        files = sorted(path.glob(f"{split}_*.webp"))
        images = np.concatenate([_tiles(file) for file in files]) if files else np.empty((0, 3, SIDE, SIDE), np.uint8)
        if len(images) != len(labels):
            raise FormatError(
                f"{path}: {len(files)} mosaics {split}_*.webp hold {len(images)} images; {len(labels)} labels"
            )
        return from_arrays(images, labels, "cifar10", CIFAR10)


def _tiles(path: Path) -> NDArray[np.uint8]:
    """uint8 [2500, 3, 32, 32], row by row."""
    mosaic = np.asarray(Image.open(path).convert("RGB"))
    size = (TILES * SIDE, TILES * SIDE, 3)
    if mosaic.shape != size:
        raise FormatError(f"{path}: {list(mosaic.shape)}; a mosaic of {TILES}×{TILES} images is {list(size)}")
    split = mosaic.reshape(TILES, SIDE, TILES, SIDE, 3)
    return split.transpose(0, 2, 4, 1, 3).reshape(-1, 3, SIDE, SIDE)


READERS = (Cifar10(),)

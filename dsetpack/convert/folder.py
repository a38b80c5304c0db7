"""``folder``: image files, with ``labels.csv`` beside them or in one sub-folder per class."""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from dsetpack.convert._files import check_size
from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError, LimitError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable
from dsetpack.formats.words import plural
from dsetpack.spaces import Raw
from dsetpack.unpack.base import CARD_FILE, LABELS_FILE

_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))


class FolderLayout(Layout):
    """Image files, whose space is raw. They are read in sorted order, or in the order of ``labels.csv``.

    ``labels.csv`` has a header. Its columns are ``file`` and ``label`` (further columns are ignored), or ``file`` and
    one column of floats per class, with the class name as its header. If ``dsetpack unpack`` wrote a ``card.json``, it
    says the rest.
    """

    recognised: ClassVar[str] = "a folder with labels.csv (file, label), or with one sub-folder of images per class"
    unknown: ClassVar[str] = "lr; nothing if it was unpacked from a pack"
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and ((path / LABELS_FILE).is_file() or any(map(_images, _classes(path))))

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "folder")
        refuse_experiment(given, "folder")
        if not path.is_dir():
            raise FormatError(f"{path}: a folder of images expected")
        own = _listed(path, given.limits) if (path / LABELS_FILE).is_file() else _sorted(path)
        return Found(
            sources=_pixels(own.pop("images"), given.limits),
            where=f"{path.name}: images",
            space=Raw(),
            card=_card(path / CARD_FILE, given.limits),
            **own,
        )


def _sorted(path: Path) -> dict[str, Any]:
    """Find the images in one sub-folder per class."""
    folders = _classes(path)
    files = [(file, label) for label, folder in enumerate(folders) for file in _images(folder)]
    if not files:
        raise FormatError(f"{path}: no image files; {LABELS_FILE}, or one sub-folder of images per class, expected")
    images = tuple(file for file, _ in files)
    return {
        "images": images,
        "files": images,
        "labels": torch.tensor([label for _, label in files]),
        "labels_where": f"{path.name}: labels",
        "classes": tuple(folder.name for folder in folders),
    }


def _listed(path: Path, limits: Limits) -> dict[str, Any]:
    """Find the images that ``labels.csv`` lists."""
    listing = path / LABELS_FILE
    with at(str(listing)):
        check_size(listing, limits)
        try:
            with listing.open(encoding="utf-8", newline="") as file:
                header, *rows = list(csv.reader(file)) or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            raise FormatError(f"not a CSV file in UTF-8 ({error})") from error
        if len(header) < 2 or header[0] != "file" or not rows:
            named = ", ".join(header[:4]) or "none"
            raise FormatError(f"columns {named}, {plural(len(rows), 'row')}; file, label expected")
        hard = header[1] == "label"
        columns = 1 if hard else len(header) - 1
        values, images = [], []
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise FormatError(f"line {number} has {plural(len(row), 'column')}; {len(header)} expected")
            with at(f"line {number}"):
                values.append(_values(row[1 : 1 + columns], hard))
                images.append(_inside(path, row[0]))
    labels = torch.tensor([int(value) for (value,) in values]) if hard else torch.tensor(values, dtype=torch.float32)
    return {
        "images": tuple(images),
        "files": (listing, *images),
        "labels": labels,
        "labels_where": f"{LABELS_FILE}: labels",
        "classes": None if hard else tuple(header[1:]),
    }


def _values(texts: list[str], hard: bool) -> list[float]:
    try:
        values = [float(text) for text in texts]
    except ValueError:
        raise FormatError(f"{printable(texts[0])!r} is not a number") from None
    if hard and (not values[0].is_integer() or not abs(values[0]) < 2**31):
        raise FormatError(f"label {values[0]:g}; a class number expected")
    return values


def _inside(path: Path, name: str) -> Path:
    """The path of a listed file; a listing cannot name files outside its folder.

    Raises:
        FormatError: if it does, or if the file does not exist.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0]:
        raise FormatError(f"file {printable(name)!r}; a name inside the folder expected")
    file = path.joinpath(*parts.parts)
    if not file.is_file():
        raise FormatError(f"no file {printable(name)!r}")
    return file


def _classes(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())


def _pixels(files: Sequence[Path], limits: Limits) -> Tensor:
    """Read images as uint8 [N, C, H, W]: grey if all files are grey, otherwise RGB."""
    looks = [_look(file) for file in files]
    mode: Literal["L", "RGB"] = "L" if all(grey for _, grey in looks) else "RGB"
    width, height = looks[0][0]
    channels = 1 if mode == "L" else 3
    if (size := 4 * len(files) * channels * height * width) > limits.total:  # as floats
        raise LimitError(f"{files[0].parent}: images of {size:,} bytes; at most {limits.total:,} are read")
    pixels = np.empty((len(files), channels, height, width), np.uint8)
    for place, (file, (found, _)) in enumerate(zip(files, looks, strict=True)):
        if found != (width, height):
            raise FormatError(
                f"{file} is {found[1]}×{found[0]} and {files[0].name} is {height}×{width} (height × width): all images "
                "must have one size; resize them first"
            )
        with _opened(file) as image:
            pixels[place] = np.asarray(image.convert(mode)).reshape(height, width, channels).transpose(2, 0, 1)
    return torch.from_numpy(pixels)


def _look(file: Path) -> tuple[tuple[int, int], bool]:
    """The size of an image and whether it is grey, from the header alone."""
    with _opened(file) as image:
        size, mode = image.size, image.mode
    if mode == "F" or mode.startswith("I"):  # Pillow would clip them to 8 bits
        raise FormatError(f"{file}: pixels of mode {mode} found; 8 bits per channel expected: convert it first")
    return size, mode in ("1", "L", "LA")


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image file, and turn Pillow's various errors into one.

    Raises:
        FormatError: if it is not a sound image file.
    """
    try:
        with Image.open(file) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise FormatError(f"{file}: not a sound image file ({printable(str(error))[:160]})") from error


def _card(path: Path, limits: Limits) -> Card | None:
    if not path.is_file():
        return None
    with at(str(path)):
        check_size(path, Limits(total=min(limits.total, limits.manifest)))
        return Card.model_validate_json(path.read_bytes())


LAYOUT = FolderLayout()

"""``folder``: image files, with ``labels.csv`` beside them or in one sub-folder per class."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from typing_extensions import override

from dsetpack.convert.base import Found, Given, Layout, refuse_experiment, refuse_factor
from dsetpack.files.folders import has_images, read_folder
from dsetpack.files.limited import check_size
from dsetpack.files.pixels import stacked
from dsetpack.files.splits import Split
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable
from dsetpack.formats.notices import notice
from dsetpack.formats.words import plural
from dsetpack.spaces import Raw
from dsetpack.unpack.base import CARD_FILE, LABEL_CLASS, LABELS_FILE

_RDED = re.compile(r"class\d{5}_id\d{5}\.jpg")


class FolderLayout(Layout):
    """Image files, whose space is raw. They are read in sorted order, or in the order of ``labels.csv``.

    ``labels.csv`` has a header. Its columns are ``file`` and ``label``, a class number or name (further columns are
    ignored), or ``file`` and one column of floats per class, with the class name as its header. If ``dsetpack unpack``
    wrote a ``card.json``, it says the rest.
    """

    recognised: ClassVar[str] = "a folder with labels.csv (file, label), or with one sub-folder of images per class"
    unknown: ClassVar[str] = "lr; nothing if it was unpacked from a pack"
    last: ClassVar[bool] = True

    @override
    def accepts(self, path: Path) -> bool:
        return path.is_dir() and ((path / LABELS_FILE).is_file() or has_images(path))

    @override
    def read(self, path: Path, given: Given) -> Found:
        refuse_factor(given, "folder")
        refuse_experiment(given, "folder")
        if not path.is_dir():
            raise FormatError(f"{path}: a folder of images expected")
        own = _listed(path, given.limits) if (path / LABELS_FILE).is_file() else _sorted(path, given.split)
        return Found(
            sources=torch.from_numpy(
                stacked(own.pop("images"), limits=given.limits, drop_alpha=given.drop_alpha),
            ),
            where=f"{path.name}: images",
            axes="NCHW",
            space=Raw(),
            card=_card(path / CARD_FILE, given.limits),
            **own,
        )


def _sorted(path: Path, split: Split | None) -> dict[str, Any]:
    """Find the images in one sub-folder per class."""
    found = read_folder(path, split)
    return {
        "images": found.files,
        "files": found.files,
        "labels": np.array(found.classes)[found.labels],
        "labels_where": f"{path.name}: labels",
        "classes": found.classes,
        "split": found.split,
        "method": "rded" if _mosaics(path, found.files) else None,
    }


def _mosaics(path: Path, images: Sequence[Path]) -> bool:
    """Whether these are images of RDED (Sun et al. 2024), which names each by its class and its number."""
    if not all(_RDED.fullmatch(file.name) for file in images):
        return False
    notice(
        f"{path.name}: a set of RDED, whose images may be mosaics of several crops; the pack keeps each as one image, "
        "with hard labels: RDED's soft labels come from a teacher while networks train"
    )
    return True


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
            held = ", ".join(header[:4]) or "none"
            raise FormatError(f"columns {held}, {plural(len(rows), 'row')}; file, label expected")
        hard = header[1] == "label"
        named = hard and not any(_is_number(row[1]) for row in rows if len(row) > 1)
        columns = 1 if hard else len(header) - 1
        values: list[Any] = []
        images = []
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise FormatError(f"line {number} has {plural(len(row), 'column')}; {len(header)} expected")
            with at(f"line {number}"):
                values.append(_name(row[1]) if named else _values(row[1 : 1 + columns], hard))
                images.append(_inside(path, row[0]))
    labels = np.array(values, np.str_ if named else np.int64 if hard else np.float32)
    return {
        "images": tuple(images),
        "files": (listing, *images),
        "labels": labels,
        "labels_where": f"{LABELS_FILE}: labels",
        "classes": None if hard else tuple("label" if name == LABEL_CLASS else name for name in header[1:]),
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _name(text: str) -> str:
    if not text.strip():
        raise FormatError("no label; a class name expected")
    return text


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


def _card(path: Path, limits: Limits) -> Card | None:
    if not path.is_file():
        return None
    with at(str(path)):
        check_size(path, Limits(total=min(limits.total, limits.manifest)))
        return Card.model_validate_json(path.read_bytes())


LAYOUT = FolderLayout()

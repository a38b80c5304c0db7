"""``png``: an 8-bit PNG an image, ``labels.csv`` and ``card.json``."""

from __future__ import annotations

import csv
from pathlib import Path

from dsetpack.pack.pack import Pack
from dsetpack.unpack.base import CARD_FILE, LABELS_FILE, labels, pictures, unpacked_card


def write(pack: Pack, folder: Path) -> None:
    """``images/000000.png``, ...; ``labels.csv`` with columns ``file, label, class``, or ``file`` and a column a class.

    Soft labels are written with as many digits as float32 needs, so they come back exactly.
    """
    (folder / "images").mkdir()
    digits = max(6, len(str(len(pack) - 1)))
    names = [f"images/{number:0{digits}}.png" for number in range(len(pack))]
    for name, picture in zip(names, pictures(pack), strict=True):
        picture.save(folder / name, format="PNG")
    with (folder / LABELS_FILE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_rows(pack, names))
    card = unpacked_card(pack, raw=True).model_dump_json(exclude_defaults=True, indent=2)
    (folder / CARD_FILE).write_text(f"{card}\n", encoding="utf-8")


def _rows(pack: Pack, names: list[str]) -> list[list[str]]:
    found, classes = labels(pack), pack.card.classes
    if found.ndim == 1:
        rows = [[name, str(label), classes[label]] for name, label in zip(names, found.tolist(), strict=True)]
        return [["file", "label", "class"], *rows]
    columns = ["file", *(f"{name} " if name == "label" else name for name in classes)]  # 'label' would mean hard ones
    return [columns, *([name, *map(str, row)] for name, row in zip(names, found, strict=True))]


FORM = write

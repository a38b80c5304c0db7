"""``png``: one 8-bit PNG per image, ``labels.csv`` and ``card.json``."""

from __future__ import annotations

import csv
from pathlib import Path

from dsetpack.pack.pack import Pack
from dsetpack.unpack.base import CARD_FILE, LABEL_CLASS, LABELS_FILE, labels, pictures, unpacked_card


def write(pack: Pack, folder: Path) -> None:
    """Write ``images/000000.png``, ..., ``labels.csv`` and ``card.json``.

    The columns of ``labels.csv`` are ``file, label, class`` for hard labels, or ``file`` and one column per class for
    soft labels. Soft labels have all the digits that float32 needs, so they can be read back exactly.
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
    # A class named 'label' gets a space: a column 'label' would mean hard labels.
    columns = ["file", *(LABEL_CLASS if name == "label" else name for name in classes)]
    return [columns, *([name, *map(str, row)] for name, row in zip(names, found, strict=True))]


FORM = write

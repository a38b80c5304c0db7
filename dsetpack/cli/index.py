"""What ``--help`` lists of data sets and layouts, kept in ``index.json``: finding them anew would import torch.

``python -m dsetpack.cli.index`` writes the file; a test compares it with what is found.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

PATH = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Index:
    """What help texts list.

    Attributes:
        data: the names of the data sets.
        layouts: what each layout takes and does not say, by name.
    """

    data: tuple[str, ...]
    layouts: dict[str, str]


def found() -> Index:
    """What there is, found by importing it."""
    from dsetpack.convert import layout_names, layout_of
    from dsetpack.trainers.data import data_names

    layouts = {name: layout_of(name) for name in layout_names()}
    return Index(data_names(), {name: f"{one.recognised}. Not said: {one.unknown}." for name, one in layouts.items()})


def text(index: Index) -> str:
    """The content of the file."""
    return json.dumps(asdict(index), indent=2, ensure_ascii=False) + "\n"


@cache
def read() -> Index:
    """What the file holds."""
    return Index(**json.loads(PATH.read_text(encoding="utf-8")))


if __name__ == "__main__":
    PATH.write_text(text(found()), encoding="utf-8")
    sys.stdout.write(f"{PATH.name} is current\n")

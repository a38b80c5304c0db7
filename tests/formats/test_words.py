"""Numbers with their nouns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import dsetpack
from dsetpack.formats.words import plural


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1000, "image", "1,000 images"),
        (1, "class", "1 class"),
        (10, "class", "10 classes"),
        (3, "entry", "3 entries"),
        (2, "key", "2 keys"),
        (2, "batch", "2 batches"),
        (1, "test image", "1 test image"),
        (2, "random real image", "2 random real images"),
    ],
)
def test_plural(number, noun, said):
    assert plural(number, noun) == said


PACKAGE = Path(dsetpack.__file__).parent
COUNTED = (
    r" (?:(?:label|real|test|training|plain|more|equal|random|image|other) )?(?:axes|batches|channels|chunks|classes|"
    r"columns|decoders|epochs|experts|files|images|labels|layers|networks|pairs|parts|pixels|rows|seeds|sources|stages|"
    r"steps|tensors|tasks)\b"
)
NEVER_ONE = {
    "cli/audit.py: found.count",
    "cli/convert.py: pack.card.labels.kind",
    "cli/demo.py: recipe.steps",
    "convert/haba.py: dims",
    "files/cifar.py: self.classes",
    "formats/alpha.py: channels",
    "onnx/runtime.py: len(self)",
    "pack/part.py: labels",
    "preview/card.py: part.decoders",
    "replay/compatible.py: _labels(pack.card)",
    "trainers/demo.py: len(train)",
    "trainers/objectives/means.py: len(self.data)",
    "trainers/objectives/mtt.py: later",
    "trainers/parameterizations/kfs.py: config.decoders",
    "trainers/staging.py: labels",
}
"""What stands before such a noun and is at least 2, or no number."""
SIZES = re.compile(r"[×x]$| by $| of $")
"""What is before a number that says no count: a side of a picture, or the whole of a part (1 of 1 images)."""


def counts() -> set[str]:
    """Every number in an f-string of the package that is followed by a noun in the plural."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(text, ast.JoinedStr):
                continue
            for before, number, after in zip([None, *text.values], text.values, text.values[1:], strict=False):
                words = after.value if isinstance(after, ast.Constant) else ""
                said = before.value if isinstance(before, ast.Constant) else ""
                if isinstance(number, ast.FormattedValue) and re.match(COUNTED, words) and not SIZES.search(said):
                    value = ast.unparse(number.value)
                    if not value.startswith("plural("):
                        found.add(f"{path.relative_to(PACKAGE).as_posix()}: {value}")
    return found


def test_every_message_counts_by_it():
    assert counts() == NEVER_ONE

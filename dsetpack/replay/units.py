"""Parsing of byte counts as people write them."""

from __future__ import annotations

import operator
import re
from fractions import Fraction

from dsetpack.formats.errors import FormatError

UNITS = {"b": 1, "": 1} | {
    f"{prefix}{infix}b": base**power
    for power, prefix in enumerate("kmg", 1)
    for infix, base in (("", 1000), ("i", 1024))
}
"""Decimal units (kB, MB, GB) and binary units (KiB, MiB, GiB), in lower case."""
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(budget: int | str) -> int:
    """Parse a number of bytes: 2000000, "2MB", "1.5 MiB".

    Raises:
        FormatError: if it is not a number of bytes, or less than one byte.
    """
    found = _bytes(budget)
    if found is None or found < 1:
        raise FormatError(f"budget {budget!r}: expected bytes, such as 2_000_000, '2MB', '500 kB' or '1.5MiB'")
    return found


def _bytes(budget: int | str) -> int | None:
    if isinstance(budget, str):
        match = _TEXT.fullmatch(budget)
        unit = UNITS.get(match[2].lower()) if match else None
        return None if match is None or unit is None else int(Fraction(match[1]) * unit)
    try:
        return None if isinstance(budget, bool) else operator.index(budget)
    except TypeError:
        return None

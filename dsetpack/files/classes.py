"""Class names: their order, and the places of a source's own names among declared ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import printable
from dsetpack.formats.notices import notice
from dsetpack.formats.words import plural

_DIGITS = 18
"""A longer text is no class number; it would not fit into 64 bits."""


def in_order(names: Iterable[str]) -> list[str]:
    """Sort class names: as numbers if all of them are whole numbers (``2`` before ``10``), otherwise as text."""
    found = list(names)
    return sorted(found, key=lambda name: (int(name), name)) if are_numbers(found) else sorted(found)


def are_numbers(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers, such as ``07``."""
    return all(name.isascii() and name.isdecimal() and len(name) <= _DIGITS for name in names)


def places(own: Sequence[str], declared: Sequence[str] | int, first: int = 0) -> tuple[tuple[str, ...], list[int]]:
    """Find the declared class that each of a source's own classes is.

    Equal names are the same class. If no name is equal, own names that are numbers are class numbers. Other own names
    are renamed in their order, with a notice.

    Args:
        own: the source's class names.
        declared: class names, or their number. A number as large as that of the own names keeps these.
        first: the number of the first class, for own names that are numbers.

    Returns:
        the names of all classes, and the place of each own class among them.

    Raises:
        FormatError: if the declared classes are too few, or share only some of the own names.
    """
    if declared == len(own):
        return tuple(own), list(range(len(own)))
    names = tuple(map(str, range(declared))) if isinstance(declared, int) else tuple(declared)
    place = {name: number for number, name in enumerate(names)}
    unknown = [name for name in own if name not in place]
    if not unknown:
        return names, [place[name] for name in own]
    numbers = [int(name) for name in own] if are_numbers(own) else []
    if len(unknown) < len(own) and not isinstance(declared, int):
        raise FormatError(
            f"the declared classes {few(names)} have no {unknown[0]!r}, which the source has ({few(own)}); declare all "
            "of its names, in any order, or none of them"
        )
    if numbers and set(numbers) <= set(range(first, first + len(names))):
        return names, [number - first for number in numbers]
    if isinstance(declared, int) or len(own) != len(names):
        raise FormatError(f"the source has {plural(len(own), 'class')} ({few(own)}), and {len(names)} are declared")
    if sorted(numbers) == list(range(1, len(own) + 1)):
        raise FormatError(
            f"classes {few(own)} for {few(names)}: class numbers start at 0; number them from 0, or convert with "
            "labels='one-based' (--labels one-based)"
        )
    notice(f"the source's classes {few(own)} are renamed in their order: {few(names)}")
    return names, list(range(len(own)))


def few(names: Sequence[str]) -> str:
    """The first names, for a message."""
    return printable(", ".join(names[:5]))[:160] + (", ..." if len(names) > 5 else "")

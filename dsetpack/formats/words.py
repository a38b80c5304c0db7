"""Words for people: how many of something."""

from __future__ import annotations

_ES = ("s", "x", "ch", "sh")


def plural(number: int, noun: str) -> str:
    """A number and its noun: ``1 image``, ``1,000 images``, ``2 classes``, ``0 copies``.

    Args:
        number: how many.
        noun: in the singular; a word before it may stay: ``test image``.
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(_ES):
        return f"{number:,} {noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}s"

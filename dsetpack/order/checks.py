"""Checks of what an order depends on: seed, epoch and rule."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from dsetpack.formats.errors import FormatError

RULES = ("product", "paired")


def check_seed(seed: SupportsIndex) -> int:
    """Check a seed and return it as a Python int.

    Raises:
        FormatError: if it is not a whole number in 0..2**64-1.
    """
    return _whole("seed", seed, 64)


def check_epoch(epoch: SupportsIndex) -> int:
    """Check an epoch and return it as a Python int.

    Raises:
        FormatError: if it is not a whole number in 0..2**32-1.
    """
    return _whole("epoch", epoch, 32)


def check_rule(rule: str) -> str:
    """Check a rule and return it.

    Raises:
        FormatError: if it is neither ``product`` nor ``paired``.
    """
    if rule not in RULES:
        raise FormatError(f"rule must be 'product' or 'paired', found {rule!r}")
    return rule


def _whole(name: str, value: SupportsIndex, width: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise FormatError(f"{name} must be a whole number, found {value!r}") from None
    if not 0 <= number < 1 << width:
        raise FormatError(f"{name} must be in 0..2**{width}-1, found {number}")
    return number

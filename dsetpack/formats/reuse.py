"""What the writer computed for one file, to be used again for the next one that is much the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Once(Protocol):
    """A way to get what ``make`` gives for these arrays and settings."""

    def __call__(self, arrays: Sequence[NDArray[Any]], settings: object, make: Callable[[], T]) -> T:
        """The result of ``make``, from now or from before."""


def plain(arrays: Sequence[NDArray[Any]], settings: object, make: Callable[[], T]) -> T:  # noqa: ARG001
    """Make it each time."""
    return make()


class Reuse:
    """Encoded tensors and compressed datasets of a file, by the digest of what they were made from.

    The bytes of a file are the same with and without it.

    Args:
        *earlier: what other files had; ``forget`` leaves what this one has.
    """

    def __init__(self, *earlier: Reuse) -> None:
        self._known: dict[bytes, Any] = {}
        for one in earlier:
            self._known |= one._known | one._made
        self._made: dict[bytes, Any] = {}

    def once(self, arrays: Sequence[NDArray[Any]], settings: object, make: Callable[[], T]) -> T:
        """What ``make`` gives for these arrays and settings; it is called only if no file had them."""
        key = _key(arrays, settings)
        if key not in self._made:
            self._made[key] = self._known[key] if key in self._known else make()
        found: T = self._made[key]
        return found

    def forget(self) -> None:
        """Forget what only earlier files had."""
        self._known = {}


def _key(arrays: Sequence[NDArray[Any]], settings: object) -> bytes:
    digest = hashlib.sha256(repr((settings, [(a.dtype.str, a.shape) for a in arrays])).encode())
    for values in arrays:
        digest.update(np.ascontiguousarray(values).data)
    return digest.digest()

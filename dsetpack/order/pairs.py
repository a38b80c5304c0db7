"""Pairs: the numbers that name one source decoded by one decoder, across all parts of a pack."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsetpack.formats.errors import FormatError

Int64s = NDArray[np.int64]


class Located(NamedTuple):
    """Where pairs live: three int64 arrays of the same shape.

    Attributes:
        part_ids: the part of each pair.
        source_ids: the source of each pair, counted inside its part.
        slot_ids: the slot of each pair.
    """

    part_ids: Int64s
    source_ids: Int64s
    slot_ids: Int64s


class PairTable:
    """Where each pair of a pack lives.

    Pairs are numbered part by part; inside a part with ``K`` slots, pair ``p`` is source ``p // K`` and slot
    ``p % K``. A slot is a decoder's number or, if the part gives each class its own decoders, a place in the class's
    list. Sources are numbered part by part as well, 0..num_sources-1.

    Args:
        parts: for each part (number of sources >= 0, number of slots >= 1).

    Raises:
        FormatError: if a number is out of its range, or if there are more than 2**62 pairs.
    """

    def __init__(self, parts: Sequence[tuple[int, int]]) -> None:
        self.parts: tuple[tuple[int, int], ...] = tuple((operator.index(n), operator.index(k)) for n, k in parts)
        for number, (sources, slots) in enumerate(self.parts):
            if sources < 0 or slots < 1:
                raise FormatError(f"part {number}: needs sources >= 0 and slots >= 1, found {sources} and {slots}")
        if sum(n * k for n, k in self.parts) > 1 << 62:
            raise FormatError(f"more than 2**62 pairs in parts {self.parts}")
        self._slots = np.array([k for _, k in self.parts], np.int64)
        self._first_source = np.cumsum([0] + [n for n, _ in self.parts], dtype=np.int64)
        self._first_pair = np.cumsum([0] + [n * k for n, k in self.parts], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._first_pair[-1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PairTable) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"PairTable({list(self.parts)})"

    @property
    def num_sources(self) -> int:
        """The number of sources in all parts together."""
        return int(self._first_source[-1])

    def locate(self, pair_ids: ArrayLike) -> Located:
        """The part, the source inside the part, and the slot of each pair.

        Args:
            pair_ids: integers in 0..len-1, any shape.

        Returns:
            three int64 arrays of that shape.

        Raises:
            IndexError: if a number is outside 0..len-1.
        """
        pair_ids = _in_range(pair_ids, len(self), "pair")
        part_ids = np.searchsorted(self._first_pair, pair_ids, side="right") - 1
        source_ids, slot_ids = np.divmod(pair_ids - self._first_pair[part_ids], self._slots[part_ids])
        return Located(part_ids.astype(np.int64), source_ids, slot_ids)

    def slots(self, source_ids: ArrayLike) -> Int64s:
        """The number of slots of each source; sources are numbered across parts.

        Raises:
            IndexError: if a number is outside 0..num_sources-1.
        """
        return self._slots[self._part_ids(_in_range(source_ids, self.num_sources, "source"))]

    def pairs(self, source_ids: ArrayLike, slot_ids: ArrayLike) -> Int64s:
        """The pair of each (source, slot); sources are numbered across parts, and both shapes are equal.

        Raises:
            IndexError: if a source is outside 0..num_sources-1, or if its part does not have the slot.
        """
        source_ids = _in_range(source_ids, self.num_sources, "source")
        slot_ids = np.asarray(slot_ids, np.int64)
        part_ids = self._part_ids(source_ids)
        slots = self._slots[part_ids]
        if ((slot_ids < 0) | (slot_ids >= slots)).any():
            raise IndexError(f"slots must be in 0..K-1 of their part, found {slot_ids.min()}..{slot_ids.max()}")
        first = self._first_pair[part_ids]
        pair_ids: Int64s = first + (source_ids - self._first_source[part_ids]) * slots + slot_ids
        return pair_ids

    def _part_ids(self, source_ids: Int64s) -> NDArray[np.intp]:
        return np.searchsorted(self._first_source, source_ids, side="right") - 1


def _in_range(numbers: ArrayLike, stop: int, what: str) -> Int64s:
    found = np.asarray(numbers)
    if found.size == 0:
        return np.zeros(found.shape, np.int64)
    if found.dtype.kind not in "iu":
        raise IndexError(f"{what} numbers must be whole numbers, found dtype {found.dtype}")
    if found.min() < 0 or found.max() >= stop:
        raise IndexError(f"{what} numbers must be in 0..{stop - 1}, found {found.min()}..{found.max()}")
    return found.astype(np.int64)

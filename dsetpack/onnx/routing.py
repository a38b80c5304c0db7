"""How the pairs of a batch reach the parts of a pack, and how their images come back, in two forms.

``Fast``: each part gets its own pairs alone; numbers that do not exist make the model fail. ``Portable``: every part
runs on the whole batch, and its own pairs are chosen afterwards. So no shape depends on a value, which not every engine
can compile, and the cost grows with the number of parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from dsetpack.onnx.graph import Graph, Value, ints


@dataclass(frozen=True)
class Share:
    """Values for some pairs of a batch.

    Attributes:
        value: one row per pair that it is for (fast), or per pair of the batch (portable).
        pairs: the pairs' positions in the batch, int64 (fast), or which pairs of the batch they are, bool [N]
            (portable); None for all pairs, in order.
    """

    value: Value
    pairs: Value | None


class Routing(ABC):
    """One of the two forms."""

    portable: bool

    @abstractmethod
    def inside(self, graph: Graph, name: Value, count: int) -> Value:
        """The numbers of the input ``name``, moved into 0..count-1: no ``Gather`` ever reads other memory."""

    @abstractmethod
    def pairs(self, graph: Graph, inside: Value) -> Value:
        """The pairs for which ``inside``, bool [N], is true."""

    @abstractmethod
    def take(self, graph: Graph, values: Value, pairs: Value | None) -> Value:
        """The rows of these pairs of the batch."""

    @abstractmethod
    def within(self, graph: Graph, numbers: Value, count: int) -> Value:
        """Numbers of a part's pairs, in 0..count-1 for the pairs that are its own."""

    @abstractmethod
    def together(self, graph: Graph, shares: Sequence[Share], rank: int) -> Share:
        """Shares of different pairs as one; ``rank`` is the rank of their values."""

    @abstractmethod
    def ordered(self, graph: Graph, share: Share) -> Value:
        """The values of all pairs in the order of the batch."""


def clamped(graph: Graph, numbers: Value, count: int) -> Value:
    """Numbers moved into 0..count-1."""
    return graph("Min", graph("Max", numbers, np.int64(0)), np.int64(count - 1))


class Fast(Routing):
    """Each part runs on its own pairs."""

    portable = False

    @override
    def inside(self, graph: Graph, name: Value, count: int) -> Value:
        inside = clamped(graph, name, count)
        # A number that had to be moved counts twice: the shape is then longer than the batch, and onnxruntime refuses.
        counted = graph("Where", graph("Equal", inside, name), np.int64(1), np.int64(2))
        length = graph("ReduceSum", counted, ints(0), keepdims=1)
        return graph("Reshape", inside, length, name=f"{name} out of range 0 to {count - 1}")

    @override
    def pairs(self, graph: Graph, inside: Value) -> Value:
        return graph("Squeeze", graph("NonZero", inside), ints(0))

    @override
    def take(self, graph: Graph, values: Value, pairs: Value | None) -> Value:
        return values if pairs is None else graph("Gather", values, pairs)

    @override
    def within(self, graph: Graph, numbers: Value, count: int) -> Value:
        return numbers

    @override
    def together(self, graph: Graph, shares: Sequence[Share], rank: int) -> Share:
        if len(shares) == 1:
            return shares[0]
        value = graph("Concat", *(share.value for share in shares), axis=0)
        return Share(value, graph("Concat", *(share.pairs for share in shares if share.pairs), axis=0))

    @override
    def ordered(self, graph: Graph, share: Share) -> Value:
        return share.value if share.pairs is None else graph("Gather", share.value, inverse(graph, share.pairs))


class Portable(Routing):
    """Every part runs on all pairs."""

    portable = True

    @override
    def inside(self, graph: Graph, name: Value, count: int) -> Value:
        return clamped(graph, name, count)

    @override
    def pairs(self, graph: Graph, inside: Value) -> Value:
        return inside

    @override
    def take(self, graph: Graph, values: Value, pairs: Value | None) -> Value:
        return values

    @override
    def within(self, graph: Graph, numbers: Value, count: int) -> Value:
        return clamped(graph, numbers, count)

    @override
    def together(self, graph: Graph, shares: Sequence[Share], rank: int) -> Share:
        first, *rest = shares
        value, pairs = first.value, first.pairs
        for share in rest:
            assert share.pairs is not None  # only one part can have all pairs
            assert pairs is not None
            own = graph("Reshape", share.pairs, ints(-1, *[1] * (rank - 1)))
            value, pairs = graph("Where", own, share.value, value), graph("Or", pairs, share.pairs)
        return Share(value, pairs)

    @override
    def ordered(self, graph: Graph, share: Share) -> Value:
        return share.value


def inverse(graph: Graph, order: Value) -> Value:
    """The inverse of a permutation."""
    count = graph("Squeeze", graph("Shape", order), ints(0))
    return graph("ScatterElements", order, order, graph("Range", np.int64(0), count, np.int64(1)))

"""``images``: the identity."""

from __future__ import annotations

from typing_extensions import override

from dsetpack.onnx.graph import Graph, Value
from dsetpack.onnx.kinds import base


class Bank(base.Bank):
    """Sources are the images."""

    @override
    def decode(
        self, graph: Graph, weights: base.Weights, sources: Value, decoder: Value | None, sizes: Value | None
    ) -> Value:
        return sources

"""``images``: the identity."""

from __future__ import annotations

from typing_extensions import override

from dsetpack.onnx.graph import Graph, Value
from dsetpack.onnx.kinds.base import DecoderGraph, Weights


class ImagesGraph(DecoderGraph):
    """The identity: sources are the images."""

    @override
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        return sources


GRAPH = ImagesGraph

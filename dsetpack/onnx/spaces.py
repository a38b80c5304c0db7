"""Pixel spaces in a graph: from raw images to the pack's space, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats import Reader
from dsetpack.formats.card import Card, NormalizedSpace, ZcaSpace
from dsetpack.formats.errors import FormatError
from dsetpack.onnx.graph import Graph, Value, ints
from dsetpack.onnx.tensors import GraphTensor, graph_tensor

Floats = NDArray[np.float32]
MEAN, MATRIX, INVERSE = "space/mean", "space/matrix", "/space/inverse"
"""Names that no tensor of a file has."""


class SpaceGraph:
    """The pixel space of a pack.

    Args:
        card: the card that names the space.
        reader: the reader of the pack's file, which holds the tensors of an embedded ZCA.
        refitted: mean [D] and matrix [D, D] of a refitted ZCA, if the file keeps only its recipe.
    """

    def __init__(self, card: Card, reader: Reader, refitted: tuple[Floats, Floats] | None) -> None:
        self._model, self._shape, self._reader, self._refitted = card.space, card.shape, reader, refitted
        self._inverted: Floats | None = None

    def apply(self, graph: Graph, raw: Value) -> Value:
        """Map raw images in [0, 1] into the space."""
        model = self._model
        if isinstance(model, NormalizedSpace):
            return _into(graph, raw, model.mean, model.std)
        if not isinstance(model, ZcaSpace):
            return raw
        if model.channel_mean is not None and model.channel_std is not None:
            raw = _into(graph, raw, model.channel_mean, model.channel_std)
        mean, matrix = (tensor.whole(graph) for tensor in self._zca(graph, model))
        flat = graph("Reshape", raw, ints(0, len(self._floats(model)[0])))
        return graph("Reshape", graph("MatMul", graph("Sub", flat, mean), matrix), ints(0, *self._shape))

    def invert(self, graph: Graph, x: Value) -> Value:
        """Map images of the space back to raw values."""
        model = self._model
        if isinstance(model, NormalizedSpace):
            return _outof(graph, x, model.mean, model.std)
        if not isinstance(model, ZcaSpace):
            return x
        mean, matrix = self._floats(model)
        back = graph.tensor(INVERSE, self._inverse(matrix))
        flat = graph("Reshape", x, ints(0, len(mean)))
        x = graph("Reshape", graph("Add", graph("MatMul", flat, back), mean), ints(0, *self._shape))
        if model.channel_mean is None or model.channel_std is None:
            return x
        return _outof(graph, x, model.channel_mean, model.channel_std)

    def _floats(self, model: ZcaSpace) -> tuple[Floats, Floats]:
        """Mean and matrix as float32."""
        if self._refitted is not None:
            return self._refitted
        if model.mean is None or model.matrix is None:
            raise FormatError(
                "the pack keeps only the recipe of its ZCA, and this export needs the matrix: open the pack, make it "
                "with Zca.refit(pack.card.space, x), and export pack.with_space(...)"
            )
        mean, matrix = (self._reader.tensor(name).astype(np.float32) for name in (model.mean, model.matrix))
        if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
            raise FormatError("the embedded ZCA is not finite")
        return mean, matrix

    def _zca(self, graph: Graph, model: ZcaSpace) -> tuple[GraphTensor, GraphTensor]:
        """Add mean and matrix to the graph, as they are stored."""
        mean, matrix = self._floats(model)
        if self._refitted is not None or model.mean is None or model.matrix is None:
            both = GraphTensor(MEAN, mean), GraphTensor(MATRIX, matrix)
        else:
            both = graph_tensor(self._reader, model.mean), graph_tensor(self._reader, model.matrix)
        for tensor in both:
            tensor.add(graph)
        return both

    def _inverse(self, matrix: Floats) -> Floats:
        """The inverse of the stored matrix, computed in float64, once."""
        if self._inverted is None:
            try:
                self._inverted = np.linalg.inv(matrix.astype(np.float64)).astype(np.float32)
            except np.linalg.LinAlgError:
                self._inverted = np.full((1, 1), np.nan, np.float32)
        if not np.isfinite(self._inverted).all():
            raise FormatError("the ZCA matrix cannot be inverted: it is damaged, or too coarsely quantized")
        return self._inverted


def _channels(values: Sequence[float]) -> Floats:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def _into(graph: Graph, x: Value, mean: Sequence[float], std: Sequence[float]) -> Value:
    return graph("Div", graph("Sub", x, _channels(mean)), _channels(std))


def _outof(graph: Graph, x: Value, mean: Sequence[float], std: Sequence[float]) -> Value:
    return graph("Add", graph("Mul", x, _channels(std)), _channels(mean))

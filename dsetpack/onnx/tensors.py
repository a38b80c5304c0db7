"""The tensors of a pack in a graph, in the precision that the pack stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from dsetpack.formats import Reader
from dsetpack.formats.encodings.cast import Cast
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.index import array_codecs
from dsetpack.onnx.graph import FLOAT, Graph, Value

Array = NDArray[Any]
BFLOAT16 = onnx.TensorProto.BFLOAT16


@dataclass(frozen=True)
class GraphTensor:
    """A tensor as the graph keeps it.

    Attributes:
        name: the tensor's name in the pack.
        values: uint8 codes, 16-bit floats, float32, or the integers of hard labels.
        bfloat16: whether ``values`` are uint16 that hold the bits of bfloat16.
        scale, offset: float32 scales and offsets of codes, one per block; None if the values are not codes.
        block: the size of a block along each axis.
    """

    name: str
    values: Array
    bfloat16: bool = False
    scale: Array | None = None
    offset: Array | None = None
    block: tuple[int, ...] = ()

    def add(self, graph: Graph) -> None:
        """Add the values to the graph; call it once, before ``take`` and ``whole``."""
        graph.tensor(self.value, self.values, BFLOAT16 if self.bfloat16 else None)

    @property
    def value(self) -> Value:
        """The tensor's name in the graph, which no other value has."""
        return f"/{self.name}"

    def take(self, graph: Graph, source_ids: Value) -> Value:
        """The values of these sources, source_ids int64 [N], as float32 [N, ...] (integers stay integers)."""
        return self._floats(graph, graph("Gather", self.value, source_ids), source_ids)

    def whole(self, graph: Graph) -> Value:
        """The tensor as float32."""
        return self._floats(graph, self.value, None)

    def _floats(self, graph: Graph, stored: Value, source_ids: Value | None) -> Value:
        if self.scale is None or self.offset is None:
            return graph("Cast", stored, to=FLOAT) if self.bfloat16 or self.values.dtype == np.float16 else stored
        scale, offset = (self._spread(graph, blocks, source_ids) for blocks in (self.scale, self.offset))
        values = graph("Mul", graph("Cast", stored, to=FLOAT), scale)
        return graph("Add", values, offset) if self.offset.any() else values

    def _spread(self, graph: Graph, blocks: Array, source_ids: Value | None) -> Value:
        """Repeat one number per block so that it broadcasts against the values."""
        if blocks.size == 1:
            return graph.constant(blocks.reshape(()))
        spread = graph.constant(blocks)
        for axis, (count, size, length) in enumerate(zip(blocks.shape, self.block, self.values.shape, strict=True)):
            if count == 1:
                continue
            if axis == 0 and source_ids is not None:
                block = source_ids if size == 1 else graph("Div", source_ids, np.int64(size))
                spread = graph("Gather", spread, block)
            elif size > 1:
                spread = graph("Gather", spread, (np.arange(length) // size).astype(np.int32), axis=axis)
        return spread


def graph_tensor(reader: Reader, name: str) -> GraphTensor:
    """Read a tensor of a pack file; float64 becomes float32, as in a pack in memory."""
    entry = reader.manifest.tensors[name]
    steps = array_codecs(entry)
    if not steps:
        values = reader.tensor(name)
        return GraphTensor(name, values.astype(np.float32) if values.dtype == np.float64 else values)
    step = steps[0]
    if isinstance(step, Quantize) and len(steps) == 1:
        return _codes(reader, name, step)
    if isinstance(step, Cast) and len(steps) == 1:
        return GraphTensor(name, reader.stored(name), bfloat16=step.dtype == "bfloat16")
    return GraphTensor(name, reader.tensor(name).astype(np.float32))


def _codes(reader: Reader, name: str, step: Quantize) -> GraphTensor:
    values = reader.stored(name)
    if isinstance(step.scale, str) and isinstance(step.offset, str):
        scale, offset = reader.tensor(step.scale), reader.tensor(step.offset)
    else:
        scale, offset = (np.full([1] * values.ndim, number, np.float32) for number in (step.scale, step.offset))
    return GraphTensor(name, values, scale=scale, offset=offset, block=step.block or values.shape)

"""A small builder of ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

OPSET, IR = 17, 8
Value = str
"""The name of a value in a graph."""
Constant = NDArray[Any] | np.generic
FLOAT, INT32, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64


class Graph:
    """The nodes and constants of a model.

    Call it with an operator, its inputs (values or numpy constants) and attributes to add a node. Errors of a runtime
    show the attribute ``name``.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._named: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._tensors: set[Value] = set()
        self._count = 0

    def __call__(self, op: str, *inputs: Value | Constant, **attributes: Any) -> Value:
        """Add a node, and return its output."""
        return self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, count: int, *inputs: Value | Constant, **attributes: Any) -> list[Value]:
        """Add a node with ``count`` outputs, and return them."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        outputs = [self._name() for _ in range(count)]
        # Optimizers of onnxruntime 1.20 name new nodes after old ones, and fail on nodes without names.
        self._nodes.append(helper.make_node(op, names, outputs, name=attributes.pop("name", outputs[0]), **attributes))
        return outputs

    def constant(self, values: Constant) -> Value:
        """Add a small constant; equal constants are stored once."""
        array = np.asarray(values)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._named:
            self._named[key] = self.tensor(self._name(), array)
        return self._named[key]

    def tensor(self, name: Value, values: NDArray[Any], kind: int | None = None) -> Value:
        """Add a constant with a name of its own; a name that exists already keeps its values.

        Args:
            name: the name, used only for these values.
            values: the values as the graph keeps them.
            kind: the ONNX type of their bytes; by default that of the array.
        """
        if name in self._tensors:
            return name
        self._tensors.add(name)
        kind = helper.np_dtype_to_tensor_dtype(values.dtype) if kind is None else kind
        data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        self._constants.append(helper.make_tensor(name, kind, values.shape, data, raw=True))
        return name

    def alias(self, value: Value, name: Value) -> None:
        """Give a value the name under which the model returns it."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        version: str,
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """Make the finished model."""
        graph = helper.make_graph(self._nodes, "pack", inputs, outputs, self._constants)
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="dsetpack",
            producer_version=version,
        )
        helper.set_model_props(made, metadata)
        return made

    def _name(self) -> Value:
        self._count += 1
        return f"v{self._count}"


def info(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
    """Describe an input or output with N rows of a shape."""
    return helper.make_tensor_value_info(name, kind, ["N", *shape])


def ints(*values: int) -> NDArray[np.int64]:
    """Make an int64 constant, for shapes and axes."""
    return np.array(values, np.int64)

"""A check that refuses models with tensors in other files: onnxruntime would open any path that such a model names.

The check reads the protobuf message itself, because onnxruntime opens those files while it loads the model, and the
package ``onnx`` may not be installed.
"""

from __future__ import annotations

from collections.abc import Iterator

from dsetpack.formats.errors import FormatError

INSIDE = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
"""The fields that lead to tensors, by number, for each ONNX message."""
EXTERNAL_DATA, DATA_LOCATION = 13, 14
_FIXED = {1: 8, 5: 4}
"""Bytes of a value by wire type; type 0 is a varint, and type 2 starts with its length."""


def refuse(data: bytes) -> None:
    """Check every tensor of a model.

    Raises:
        FormatError: if a tensor is in another file, or if the bytes are not a protobuf message.
    """
    todo = [("ModelProto", memoryview(data))]
    try:
        while todo:
            kind, message = todo.pop()
            for number, value in _fields(message):
                if kind == "TensorProto" and number in (EXTERNAL_DATA, DATA_LOCATION) and value:
                    raise FormatError("a tensor in another file; a model that holds all its tensors expected")
                inner = INSIDE.get(kind, {}).get(number)
                if inner is not None and isinstance(value, memoryview):
                    todo.append((inner, value))
    except IndexError:
        raise FormatError("not an ONNX model: no protobuf message") from None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and value of each field.

    Raises:
        IndexError: if the message is not sound.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >> 32 or key & 7 not in (0, 1, 2, 5):  # parsers drop the bits above 32, and so read another number
            raise IndexError
        value: int | memoryview
        if key & 7 == 0:
            value, at = _varint(message, at)
        else:
            size, at = (_FIXED[key & 7], at) if key & 7 in _FIXED else _varint(message, at)
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise IndexError
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of at most ten bytes with seven bits each; return it and the start of the next field."""
    value = 0
    for place in range(10):
        byte = message[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise IndexError

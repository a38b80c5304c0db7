"""Refuses models with tensors in other files: onnxruntime would open whatever path on this machine the model names.

It looks into the protobuf message by itself, because onnxruntime opens the files as it loads the model, and the
package ``onnx`` need not be there.
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
"""For each message of ONNX the fields that lead to tensors, by number."""
EXTERNAL_DATA, DATA_LOCATION = 13, 14
_FIXED = {1: 8, 5: 4}
"""Bytes of a value by wire type; type 0 is a varint, type 2 has its length in front."""


def refuse(data: bytes) -> None:
    """Look at every tensor of a model.

    Raises:
        FormatError: one lies in another file, or these bytes are no protobuf message.
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
    """Number and value of each field. IndexError: no sound message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >> 32 or key & 7 not in (0, 1, 2, 5):  # a parser drops the bits above 32, and reads another number
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
    """A number of at most ten bytes, seven bits in each, and where the next field begins."""
    value = 0
    for place in range(10):
        byte = message[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise IndexError

"""A reader of the plain arrays of real numbers in MATLAB 5 files.

A file is a header of 128 bytes and then elements: a type and a size, 4 bytes each, and content, padded to 8 bytes. An
array is an element of elements: its class, its sizes, its name and its values, column by column, perhaps in a narrower
type than its class; the whole element may be a zlib stream. "MAT-File Format" by The MathWorks describes this. Nothing
else is interpreted, so the worst that a bad file can cause is an error.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats.errors import FormatError

HEADER = 128
MATRIX, COMPRESSED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x0800


def read_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """Read the real arrays of a MATLAB 5 file, by name; all else in the file is ignored.

    Raises:
        FormatError: if it is not such a file, or is damaged or cut off.
    """
    data = memoryview(path.read_bytes())
    order, found = _order(data, path), dict[str, NDArray[Any]]()
    rest = data[HEADER:]
    try:
        while rest:
            kind, body, rest = _element(rest, order)
            if kind == COMPRESSED:
                kind, body = _inflated(body, order)
            if kind == MATRIX:
                found |= _matrix(body, order)
    except (ValueError, struct.error, zlib.error) as error:
        raise FormatError(f"{path}: damaged or cut off ({error}); fetch it again") from error
    return found


def _order(data: memoryview, path: Path) -> str:
    """The byte order, read from the header's end."""
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:HEADER]))
    version = struct.unpack_from(f"{order}H", data, 124)[0] >> 8 if order else None
    if version == 2:
        raise FormatError(f"{path}: a MATLAB 7.3 file, which is HDF5; expected MATLAB 5 (save with -v6 or -v7)")
    if order is None or version != 1:
        raise FormatError(f"{path}: not a MATLAB 5 file: its header of {HEADER} bytes does not end as expected")
    return order


def _element(data: memoryview, order: str) -> tuple[int, memoryview, memoryview]:
    """The first element's type and content, and the rest of the data."""
    kind, size = struct.unpack_from(f"{order}II", data)
    start = 8
    if kind >> 16:  # at most 4 bytes of content: type and size share a word, and the next word is the content
        kind, size, start = kind & 0xFFFF, kind >> 16, 4
    end = start + size
    if end > (8 if start == 4 else len(data)):
        raise ValueError(f"an element of {size} bytes where there are {len(data) - start}")
    return kind, data[start:end], data[end if kind == COMPRESSED else -(-end // 8) * 8 :]


def _inflated(data: memoryview, order: str) -> tuple[int, memoryview]:
    """Type and content of the single element in a zlib stream; inflates no more than its size and padding."""
    stream = zlib.decompressobj()
    kind, size = struct.unpack(f"{order}II", stream.decompress(data, 8))
    content = stream.decompress(stream.unconsumed_tail, size + 8)
    if not stream.eof or len(content) < size:
        raise ValueError(f"a compressed element of {size} bytes that has more or fewer")
    return kind, memoryview(content)[:size]


def _matrix(data: memoryview, order: str) -> dict[str, NDArray[Any]]:
    """The array's values by its name; empty if the element is not an array of real numbers."""
    _, flags, data = _element(data, order)
    (word,) = struct.unpack_from(f"{order}I", flags)
    if word & 0xFF not in CLASSES or word & COMPLEX:
        return {}
    _, sizes, data = _element(data, order)
    _, name, data = _element(data, order)
    stored, values, _ = _element(data, order)
    if stored not in STORED:
        raise ValueError(f"values of the unknown type {stored}")
    shape = np.frombuffer(sizes, f"{order}i4").tolist()
    array = np.frombuffer(values, order + STORED[stored])
    if min(shape, default=-1) < 0 or math.prod(shape) != len(array):
        raise ValueError(f"an array of {shape} with {len(array)} values")
    kept = array.astype(CLASSES[word & 0xFF], copy=False)
    return {bytes(name).decode("ascii", "replace"): kept.reshape(shape, order="F")}

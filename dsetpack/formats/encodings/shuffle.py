"""``shuffle``: group the first bytes of all elements, then the second ones, ... (HDF5's filter 2).

It helps zstd on multi-byte elements, whose high bytes resemble each other.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from typing_extensions import override

from dsetpack.formats.encodings.base import ByteCodec
from dsetpack.formats.errors import FormatError


class Shuffle(ByteCodec):
    """Byte shuffle over elements of ``itemsize`` bytes."""

    name: ClassVar[str] = "shuffle"
    itemsize: Annotated[int, Field(ge=2, le=8)]

    @override
    def encode(self, data: bytes) -> bytes:
        return np.frombuffer(data, np.uint8).reshape(-1, self.itemsize).T.tobytes()

    @override
    def decode(self, data: bytes, size: int) -> bytes:
        if len(data) != size or size % self.itemsize:
            raise FormatError(f"shuffle: {len(data)} bytes found, {size} expected in elements of {self.itemsize}")
        return np.frombuffer(data, np.uint8).reshape(self.itemsize, -1).T.tobytes()


CODEC = Shuffle

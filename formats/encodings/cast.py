"""``cast``: floats in 16 bits, as IEEE binary16 or bfloat16."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from dsetpack.formats.encodings.base import Array, ArrayCodec, Resolve
from dsetpack.formats.errors import FormatError


class Codec(ArrayCodec):
    """Round float32 (or float64) to the nearest 16-bit value, ties to even.

    ``float16`` is stored as HDF5 binary16. HDF5 has no bfloat16: its bits are stored as uint16, the upper half of the
    float32.
    """

    name: ClassVar[str] = "cast"
    dtype: Literal["float16", "bfloat16"]

    def stored_dtype(self, dtype: str) -> str:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"cast takes float32 or float64, not {dtype}")
        return "float16" if self.dtype == "float16" else "uint16"

    def encode(self, values: Array, name: str) -> tuple[Array, ArrayCodec, dict[str, Array]]:
        if self.dtype == "bfloat16":
            return _to_bfloat16(values.astype(np.float32)), self, {}
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        if bool(np.any(np.isinf(stored) & np.isfinite(values))):
            peak = float(np.max(np.abs(values[np.isfinite(values)])))
            raise FormatError(f"tensor {name!r}: {peak:g} does not fit float16 (at most 65504); use bfloat16")
        return stored, self, {}

    def decode(self, stored: Array, dtype: np.dtype[Any], resolve: Resolve) -> Array:
        if self.dtype == "float16":
            return stored.astype(dtype)
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(dtype)


def _to_bfloat16(values: Array) -> Array:
    bits = np.ascontiguousarray(values).view(np.uint32)
    nearest_even = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) >> 16
    quiet_nan = (bits >> 16) | 0x40  # rounding a NaN up could turn it into infinity or zero
    return np.where(np.isnan(values), quiet_nan, nearest_even).astype(np.uint16)

"""``cast``: floats in 16 bits, as IEEE binary16 or bfloat16."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from dsetpack.formats.encodings.base import Array, ArrayCodec, Resolve
from dsetpack.formats.errors import FormatError


class Cast(ArrayCodec):
    """Round float32 (or float64, for bfloat16 by way of float32) to the nearest 16-bit value, ties to even.

    ``float16`` is stored as HDF5 binary16. HDF5 has no bfloat16: its bits are stored as uint16, the upper half of the
    float32.
    """

    name: ClassVar[str] = "cast"
    dtype: Literal["float16", "bfloat16"]

    @override
    def stored_dtype(self, dtype: str) -> str:
        if dtype not in ("float32", "float64"):
            raise FormatError(f"cast takes float32 or float64, not {dtype}")
        return "float16" if self.dtype == "float16" else "uint16"

    @override
    def encode(self, values: Array, name: str) -> tuple[Array, ArrayCodec, dict[str, Array]]:
        with np.errstate(over="ignore"):
            bf16 = self.dtype == "bfloat16"
            stored = _to_bfloat16(values.astype(np.float32)) if bf16 else values.astype(np.float16)
            lost = np.isinf(self._widen(stored)) & np.isfinite(values)
        if bool(lost.any()):
            peak, advice = float(np.max(np.abs(values[lost]))), "encode it exactly" if bf16 else "use bfloat16"
            raise FormatError(f"{peak:g} does not fit {self.dtype}; {advice}")
        return stored, self, {}

    @override
    def decode(self, stored: Array, dtype: np.dtype[Any], resolve: Resolve) -> Array:
        return self._widen(stored).astype(dtype)

    def _widen(self, stored: Array) -> Array:
        if self.dtype == "float16":
            return stored.astype(np.float32)
        return np.left_shift(stored, 16, dtype=np.uint32).view(np.float32)


def _to_bfloat16(values: Array) -> Array:
    bits = values.view(np.uint32)
    nearest_even = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    quiet_nan = (bits >> 16) | 0x40  # rounding a NaN up could turn it into infinity or zero
    return np.where(np.isnan(values), quiet_nan, nearest_even).astype(np.uint16)


CODEC = Cast

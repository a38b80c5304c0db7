"""``quantize``: floats as affine integer codes of 1 to 8 bits, one code per byte.

    value = float32(code) * scale + offset          (two float32 roundings, in this order)

One scale and offset serve each block; blocks tile the tensor. A block as large as the tensor is per-tensor
quantization, a block of 1 along one axis is per-axis, a small block is per-patch. Codes of fewer than 8 bits are not
packed: the entropy stage of zstd stores k-bit codes in about k bits, and plain bytes stay readable through HDF5.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from dsetpack.formats.encodings.base import Array, ArrayCodec, Resolve
from dsetpack.formats.errors import FormatError

CLIP_STEPS = 12
CLIP_ROUNDS = ((1, 1), (0, 1), (1, 0), (0, 1), (1, 0))
"""The search for the best clipping: ``CLIP_ROUNDS`` says which ends of the range (low, high) each round pulls in, and
``CLIP_STEPS`` how many places it tries between the present range and a quarter of it."""
_TINY = float(np.finfo(np.float32).tiny)

Blocks = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=32)]


class Quantize(ArrayCodec):
    """Affine quantization.

    Attributes:
        bits: 1 to 8; codes run from 0 to 2**bits - 1.
        block: the block's size along each axis, at most the tensor's; if left out, the whole tensor.
        scale, offset: for one block the numbers themselves, rounded to float32; otherwise the names of float32 tensors
            of shape ceil(shape / block). Numbers given before encoding are used as they are; otherwise ``encode``
            searches for the values with the smallest mean squared error of each block.
    """

    name: ClassVar[str] = "quantize"
    bits: Annotated[int, Field(ge=1, le=8)]
    block: Blocks | None = None
    scale: float | str | None = None
    offset: float | str | None = None

    @field_validator("scale", "offset")
    @classmethod
    def _fits_float32(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and abs(value) > float(np.finfo(np.float32).max):
            raise ValueError(f"{value} is not a float32")
        return value

    @model_validator(mode="after")
    def _scale_and_offset_agree(self) -> Quantize:
        if type(self.scale) is not type(self.offset):
            raise ValueError("'scale' and 'offset' are both numbers, both tensor names, or both left out")
        if isinstance(self.scale, float) and not np.float32(self.scale) > 0:
            raise ValueError(f"'scale' must be greater than 0, found {self.scale}")
        return self

    @override
    def stored_dtype(self, dtype: str) -> str:
        if dtype != "float32":
            raise FormatError(f"quantize takes float32, not {dtype}")
        if self.scale is None:
            raise FormatError("quantize in a file needs 'scale' and 'offset'")
        return "uint8"

    @override
    def needs(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        block = self._block_in(shape)
        grid = tuple(-(-n // b) for n, b in zip(shape, block, strict=True))
        if isinstance(self.scale, str) and isinstance(self.offset, str):
            return {self.scale: grid, self.offset: grid}
        if any(g != 1 for g in grid):
            raise FormatError(f"quantize: one scale cannot serve the {list(grid)} blocks of {list(block)}")
        return {}

    @override
    def encode(self, values: Array, name: str) -> tuple[Array, ArrayCodec, dict[str, Array]]:
        if not bool(np.isfinite(values).all()):
            raise FormatError("NaN or infinity cannot be quantized; encode it exactly or as bfloat16")
        if isinstance(self.scale, float) and isinstance(self.offset, float):
            return _codes(values, np.float32(self.scale), np.float32(self.offset), self.bits), self, {}
        block = self._block_in(values.shape)
        if np.ptp(values.astype(np.float64)) > np.finfo(np.float32).max:
            raise FormatError("its values span more than float32 can scale; encode it exactly")
        scale, offset = best_affine(_split(values, block), self.bits)
        stored = _codes(values, _spread(scale, block, values.shape), _spread(offset, block, values.shape), self.bits)
        if scale.size == 1:
            chosen: dict[str, Any] = {"scale": float(scale.item()), "offset": float(offset.item())}
            return stored, self.model_copy(update={"block": None, **chosen}), {}
        chosen = {"block": block, "scale": f"{name}.scale", "offset": f"{name}.offset"}
        return stored, self.model_copy(update=chosen), {chosen["scale"]: scale, chosen["offset"]: offset}

    @override
    def decode(self, stored: Array, dtype: np.dtype[Any], resolve: Resolve) -> Array:
        scale: Array | np.float32
        offset: Array | np.float32
        if isinstance(self.scale, str) and isinstance(self.offset, str):
            block = self.block or stored.shape
            scale = _spread(resolve(self.scale), block, stored.shape)
            offset = _spread(resolve(self.offset), block, stored.shape)
        else:
            scale, offset = np.float32(self.scale or 0), np.float32(self.offset or 0)
        return _restore(stored, scale, offset)

    def _block_in(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        block = self.block or shape
        if len(block) != len(shape) or any(b > n for b, n in zip(block, shape, strict=True)):
            raise FormatError(f"quantize: blocks of {list(block)} do not fit the shape {list(shape)}")
        return block


def _restore(codes: Array, scale: Array | np.float32, offset: Array | np.float32) -> Array:
    """Decode by the arithmetic of the format. A file's scales may overflow: the card says whether infinity may be."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(codes.astype(np.float32) * scale + offset)


def _codes(values: Array, scale: Array | np.float32, offset: Array | np.float32, bits: int) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(np.rint((values - offset) / scale), 0, 2**bits - 1), np.uint8)


def _split(values: Array, block: tuple[int, ...]) -> Array:
    """Split into [grid..., elements of a block]; blocks at the edge are padded by repeating the last values."""
    padding = [(0, -n % b) for n, b in zip(values.shape, block, strict=True)]
    padded = np.pad(values, padding, mode="edge") if any(after for _, after in padding) else values
    grid = [n // b for n, b in zip(padded.shape, block, strict=True)]
    folded = padded.reshape([size for pair in zip(grid, block, strict=True) for size in pair])
    axes = [*range(0, 2 * len(block), 2), *range(1, 2 * len(block), 2)]
    return folded.transpose(axes).reshape(*grid, -1)


def _spread(per_block: Array, block: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Repeat one number per block to ``shape``, cut axis by axis so that the result never grows past ``shape``."""
    for axis, (size, length) in enumerate(zip(block, shape, strict=True)):
        if per_block.shape[axis] > 1:
            cut = (slice(None),) * axis + (slice(0, length),)
            per_block = np.repeat(per_block, size, axis=axis)[cut]
    return per_block


def best_affine(blocks: Array, bits: int) -> tuple[Array, Array]:
    """Scale and offset of each block by least mean squared error over clipped ranges.

    The search starts from the full range and takes only what is better.

    Args:
        blocks: float32 [grid..., elements], finite, with a span that float32 can hold.
        bits: 1 to 8.

    Returns:
        float32 scale and offset of shape [grid...].
    """
    low, high = (f(blocks, -1, keepdims=True).astype(np.float64) for f in (np.min, np.max))
    best_scale, best_offset, best_error = _try(blocks, low, high, bits)
    for pull_low, pull_high in CLIP_ROUNDS:
        step = 0.75 * (high - low) / (pull_low + pull_high) / CLIP_STEPS
        from_low, from_high = low, high
        for n in range(1, CLIP_STEPS + 1):
            tried = from_low + pull_low * n * step, from_high - pull_high * n * step
            scale, offset, error = _try(blocks, *tried, bits)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_scale, best_offset = np.where(better, scale, best_scale), np.where(better, offset, best_offset)
            low, high = np.where(better, tried[0], low), np.where(better, tried[1], high)
    return best_scale[..., 0], best_offset[..., 0]


def _try(blocks: Array, low: Array, high: Array, bits: int) -> tuple[Array, Array, Array]:
    """Scale, offset and mean squared error of clipping to [low, high]."""
    scale = np.maximum((high - low) / (2**bits - 1), _TINY).astype(np.float32)
    offset = low.astype(np.float32)
    restored = _restore(_codes(blocks, scale, offset, bits), scale, offset)
    return scale, offset, np.mean(np.square(restored.astype(np.float64) - blocks), -1, keepdims=True)


CODEC = Quantize

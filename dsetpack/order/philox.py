"""Philox4x32-10: random bits as a pure function of a key and a counter, vectorised in numpy.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (section 3.3; table 2 gives the
multipliers, the key schedule adds the Weyl constants). numpy's and torch's own generators may change between
versions; this file may not: packs promise the same order and the same noise forever. The exact use of key and
counter is written down in ``dsetpack.order.rules``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsetpack.formats.errors import FormatError
from dsetpack.order.checks import check_epoch, check_seed

UInt64s = NDArray[np.uint64]
Words = tuple[UInt64s, UInt64s, UInt64s, UInt64s]

ORDER, SLOT, NOISE = 0, 1, 2
"""Streams, which say what the bits are for: an epoch's sort keys, a source's decoder, a generator's noise."""

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_MASK = 0xFFFFFFFF
_LOW = np.uint64(_MASK)
_HALF = np.uint64(32)
_CHUNK = 1 << 14  # positions worked on at once, so that the four counter words stay in the L2 cache


def philox4x32(counter: Words, key: tuple[int, int]) -> Words:
    """Ten rounds of Philox4x32.

    Args:
        counter: four arrays of one shape, each element a 32-bit word held in a uint64.
        key: two 32-bit words.

    Returns:
        four uint64 arrays of that shape, each element a 32-bit word.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1
        c0 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (p0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


def bits(seed: int, epoch: int, stream: int, positions: ArrayLike) -> UInt64s:
    """64 random bits for each position.

    Args:
        seed: 0 <= seed < 2**64.
        epoch: 0 <= epoch < 2**32.
        stream: 0 <= stream < 256: ``ORDER``, ``SLOT``, ``NOISE``.
        positions: whole numbers >= 0, any shape.

    Returns:
        uint64 of the positions' shape: words 0 (low half) and 1 (high half) of block 0.

    Raises:
        FormatError: if a number is out of its range.
    """
    where = _positions(positions)
    _check_stream(stream)
    flat = where.reshape(-1)
    out = np.empty(flat.shape, np.uint64)
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        low, high, _, _ = _block(seed, epoch, np.uint64(stream), part)
        out[start : start + _CHUNK] = low | (high << _HALF)
    return out.reshape(where.shape)


def noise(seed: int, epoch: int, positions: ArrayLike, size: int, *, stream: int = NOISE) -> NDArray[np.float32]:
    """``size`` standard normals for each position (Box and Muller 1958, in float64, rounded to float32).

    The bits are the same everywhere. The normals are the same wherever the C library's ``log``, ``sin`` and ``cos``
    agree in double precision to well under one float32 unit. Elsewhere one value in many millions may differ in its
    last bit.

    Args:
        seed, epoch, stream: as for :func:`bits`.
        positions: whole numbers >= 0, shape [n].
        size: normals per position, 0 <= size <= 2**25.

    Returns:
        float32 [n, size], mean 0, standard deviation 1, at most 8.6 in absolute value.

    Raises:
        FormatError: if a number is out of its range.
    """
    where = _positions(positions)
    _check_stream(stream)
    if where.ndim != 1:
        raise FormatError(f"positions must have one dimension, found shape {where.shape}")
    if not 0 <= size <= 1 << 25:
        raise FormatError(f"noise size must be in 0..2**25, found {size}")
    blocks = (size + 1) // 2
    words = (np.arange(blocks, dtype=np.uint64) << np.uint64(8)) | np.uint64(stream)
    out = np.empty((where.size, 2 * blocks), np.float32)
    rows = max(1, _CHUNK // max(1, blocks))
    for start in range(0, where.size, rows):
        part = where[start : start + rows, None]
        out[start : start + rows] = _normals(_block(seed, epoch, words[None, :], part))
    return out[:, :size]


def _block(seed: int, epoch: int, stream: np.uint64 | UInt64s, positions: UInt64s) -> Words:
    seed, epoch = check_seed(seed), check_epoch(epoch)
    low, high, when, what = np.broadcast_arrays(positions & _LOW, positions >> _HALF, np.uint64(epoch), stream)
    return philox4x32((low, high, when, what), (seed & _MASK, seed >> 32))


def _normals(words: Words) -> NDArray[np.float64]:
    """Two normals per block, side by side: [n, blocks] words -> [n, 2 * blocks]."""
    first, second = words[0] | (words[1] << _HALF), words[2] | (words[3] << _HALF)
    # A double holds 53 bits; the +1 keeps the logarithm's argument off zero.
    radius = np.sqrt(-2.0 * np.log(((first >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53))
    angle = (second >> np.uint64(11)).astype(np.float64) * (2.0**-53 * 2.0 * np.pi)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(pairs.shape[0], -1)


def _positions(positions: ArrayLike) -> UInt64s:
    where = np.asarray(positions)
    if where.size == 0:
        return np.zeros(where.shape, np.uint64)
    if where.dtype.kind not in "iu":
        raise FormatError(f"positions must be whole numbers, found dtype {where.dtype}")
    if where.dtype.kind == "i" and where.min() < 0:
        raise FormatError(f"positions must be >= 0, found {where.min()}")
    return where.astype(np.uint64)


def _check_stream(stream: int) -> None:
    if not 0 <= stream < 256:
        raise FormatError(f"stream must be in 0..255, found {stream}")

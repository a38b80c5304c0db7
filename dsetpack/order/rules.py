"""The order of an epoch and the noise of a generator: pure functions of (seed, epoch, position).

This text is enough to implement both in another language; section 8 of ``formats/SPEC.md``, which is normative, says
the same. All words are unsigned.

**Bits.** Philox4x32-10 (Salmon et al., SC 2011) with

- key = (seed mod 2^32, seed div 2^32), 0 <= seed < 2^64;
- counter = (position mod 2^32, position div 2^32, epoch, stream + 256 * block), 0 <= epoch < 2^32, 0 <= stream < 256,
  0 <= block < 2^24.

One round turns counter (c0, c1, c2, c3) and key (k0, k1) into
(hi(0xCD9E8D57 * c2) xor c1 xor k0, lo(0xCD9E8D57 * c2), hi(0xD2511F53 * c0) xor c3 xor k1, lo(0xD2511F53 * c0)), where
hi and lo are the upper and lower 32 bits of the 64-bit product. Ten rounds; before each but the first, k0 grows by
0x9E3779B9 and k1 by 0xBB67AE85, mod 2^32. The words of the last counter, in order, are x0, x1, x2, x3.
``bits(seed, epoch, stream, position)`` = x0 + 2^32 * x1 of block 0.

**Streams.** 0 order (sort keys), 1 slot (the decoder of a source), 2 noise. Others are reserved.

**Permutation** of n numbers: sort 0..n-1 by (bits(seed, epoch, 0, i), i). The i of the j-th smallest is at place j.

**Rule ``product``** (the whole Cartesian product: KFS): the epoch is the permutation of all pair numbers.

**Rule ``paired``** (each source once, with a decoder drawn for it: HaBa, IDC): with sources numbered 0.. across parts,
the epoch is the permutation of the sources. Source s of a part with K slots, K < 2^32, takes slot
((bits(seed, epoch, 1, s) div 2^32) * K) div 2^32. Its pair number is the first pair of the part + (s - the first source
of the part) * K + slot. The draw depends on the source's number, not on its place in the epoch.

**Noise** of a pair whose source is drawn, not stored: position = the pair's number in the pack. Block b gives the
normals 2b and 2b + 1 of that position: with a = x0 + 2^32 * x1 and c = x2 + 2^32 * x3 of stream 2, block b,
u = ((a div 2^11) + 1) / 2^53, v = (c div 2^11) / 2^53 and r = sqrt(-2 ln u), they are r cos(2 pi v) and
r sin(2 pi v), in double precision, then rounded to float32 (to nearest, ties to even). If an odd number is asked for,
the last is dropped.

**Ranks and batches.** With batch size B, world size W and P samples of the epoch used up (P counted over all ranks),
the next step takes places P..P+B*W-1 of the epoch; rank r takes the B places from P + r*B. A last step with only
R < B*W places left is dropped (``drop_last``) or split evenly: rank r takes R div W places, one more if r < R mod W,
in order of rank. So the ranks' batches of each step, put one after another, are the epoch's order for any W, B and
number of worker processes.
"""

from __future__ import annotations

import numpy as np

from dsetpack.formats.errors import FormatError
from dsetpack.order import philox
from dsetpack.order.checks import check_rule
from dsetpack.order.pairs import Int64s, PairTable


def epoch_length(table: PairTable, rule: str) -> int:
    """The number of samples in one epoch: all pairs (``product``) or all sources (``paired``)."""
    return len(table) if check_rule(rule) == "product" else table.num_sources


def epoch_order(table: PairTable, rule: str, seed: int, epoch: int) -> Int64s:
    """The pair numbers of one epoch, in order.

    Args:
        table: the pack's pairs.
        rule: ``product`` or ``paired``.
        seed: 0 <= seed < 2**64.
        epoch: 0 <= epoch < 2**32.

    Returns:
        int64 [epoch_length(table, rule)].

    Raises:
        FormatError: if an argument is out of its range.
    """
    order = permutation(epoch_length(table, rule), seed, epoch)
    return order if rule == "product" else table.pairs(order, draw_slots(table, seed, epoch, order))


def permutation(n: int, seed: int, epoch: int) -> Int64s:
    """0..n-1 sorted by their 64-bit keys, ties by number: int64 [n]. Ten million take about a second."""
    if not 0 <= n <= 1 << 40:
        raise FormatError(f"can permute 0..2**40 numbers, found {n}")
    return _argsort(philox.bits(seed, epoch, philox.ORDER, np.arange(n, dtype=np.int64)))


def draw_slots(table: PairTable, seed: int, epoch: int, source_ids: Int64s) -> Int64s:
    """The slot of each source in one epoch under rule ``paired``: int64, 0 <= slot < K of its part.

    Multiplying and taking the high half (Lemire 2019, without rejection) is uniform to within K / 2**32.
    """
    draws = philox.bits(seed, epoch, philox.SLOT, source_ids) >> np.uint64(32)
    return ((draws * table.slots(source_ids).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def _argsort(keys: philox.UInt64s) -> Int64s:
    """The stable argsort of 64-bit keys, several times faster than numpy's.

    numpy sorts values much faster than it argsorts them. So its index replaces the lowest bits of each key,
    and the few keys whose remaining bits are equal are put in order afterwards.
    """
    width = np.uint64(max(len(keys) - 1, 0).bit_length())
    packed = ((keys >> width) << width) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    order = (packed & np.uint64((1 << int(width)) - 1)).astype(np.int64)
    packed >>= width
    same = packed[1:] == packed[:-1]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False)) if len(keys) else order
    # Groups of equal upper bits are already in order, and each is sorted by index: one stable sort fixes them all.
    order[tied] = order[tied][np.argsort(keys[order[tied]], kind="stable")]
    return order

"""How much a reader is willing to take on a file's word."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """Upper bounds, compared with what a file declares before memory is taken.

    Attributes:
        manifest: bytes of the manifest's plain JSON.
        values: commas and opening brackets in it, so about how many values: each may take a kilobyte once parsed.
        total: bytes of all decoded tensors, of all datasets, of the labels of all pairs, and of what decoders
            prepare, each by itself; see SPEC.md, 10.
        chunk: bytes of one chunk, plain or stored.
    """

    manifest: int = 16 * MIB
    values: int = 1 << 18
    total: int = 8 * 1024 * MIB
    chunk: int = 1024 * MIB

"""How much a file may declare before a reader refuses it."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """Upper bounds on what a file declares, checked before memory is allocated.

    Attributes:
        manifest: bytes of the manifest, plain or stored.
        values: commas and opening brackets in it, about the number of values; each may take a kilobyte once parsed.
        total: bytes of all decoded tensors, of all datasets, of the labels of all pairs, and of what decoders
            prepare, each by itself; see SPEC.md, section 10.
        chunk: bytes of one chunk, plain or stored.
    """

    manifest: int = 16 * MIB
    values: int = 1 << 18
    total: int = 8 * 1024 * MIB
    chunk: int = 1024 * MIB

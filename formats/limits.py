"""How much a reader is willing to take on a file's word."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """Upper bounds in bytes, compared with what a file declares before memory is taken.

    Attributes:
        manifest: the manifest's plain JSON.
        total: all decoded tensors and all stored datasets together.
        chunk: one chunk, plain or stored.
    """

    manifest: int = 16 * MIB
    total: int = 8 * 1024 * MIB
    chunk: int = 1024 * MIB

"""Seeds as a pure function of one seed and a path of names, so that none need to be stored or restored."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *path: str | int) -> int:
    """Derive a seed in 0..2**63 - 1 for ``path`` under ``seed``: the first 63 bits of SHA-256 of ``seed/path...``."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *path: str | int) -> torch.Generator:
    """Make a CPU generator seeded by ``derive``."""
    return torch.Generator().manual_seed(derive(seed, *path))

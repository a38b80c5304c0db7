"""How exactly to compute: the same algorithm each time, and how many bits products are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bf16"]
"""``float32``: products in full. ``tf32``: on CUDA, factors rounded to 10 bits of fraction, sums in float32. ``bf16``:
that, and convolutions and matrix products of networks in bfloat16 (7 bits of fraction) on any device; what is learned,
sums of losses and optimisers stay in float32."""


@contextmanager
def deterministic() -> Iterator[None]:
    """Convolutions on CUDA by the same algorithm each time, and one that adds in a fixed order."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def precision(name: Precision, device: torch.device) -> Iterator[None]:
    """Compute in this precision; whatever the process had before comes back afterwards."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = name != "float32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16", cache_enabled=False):
            yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def current(device: torch.device) -> Precision:
    """What products on this device are computed in at the moment, for keys of caches."""
    if torch.is_autocast_enabled(device.type):
        return "bf16"
    return "tf32" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32"

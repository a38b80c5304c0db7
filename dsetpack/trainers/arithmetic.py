"""Settings of arithmetic: deterministic algorithms, and the precision of products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bf16"]
"""``float32``: products in full. ``tf32``: on CUDA, factors rounded to 10 bits of fraction, sums in float32. ``bf16``:
also convolutions and matrix products of networks in bfloat16 (7 bits of fraction) on any device; learned values, sums
of losses and optimisers stay in float32."""


@contextmanager
def deterministic() -> Iterator[None]:
    """Use the same algorithm for a CUDA convolution each time, and one that adds in a fixed order."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def precision(name: Precision, device: torch.device) -> Iterator[None]:
    """Compute in this precision, and restore the process's settings afterwards."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = name != "float32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16", cache_enabled=False):
            yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def current(device: torch.device) -> Precision:
    """The current precision of products on this device, for cache keys."""
    if torch.is_autocast_enabled(device.type):
        return "bf16"
    return "tf32" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32"

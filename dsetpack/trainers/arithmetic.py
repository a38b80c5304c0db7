"""Settings of arithmetic: deterministic algorithms, and the precision of products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

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
    """Compute in this precision, and restore the process's settings afterwards.

    Whatever the user set, by ``fp32_precision`` or by the older ``allow_tf32``. Only the former is used here: torch
    refuses to tell the latter once the two disagree.
    """
    cuda, cpu = _products()
    before = [products.fp32_precision for products in (*cuda, *cpu)]
    for products in cuda:
        products.fp32_precision = "ieee" if name == "float32" else "tf32"
    for products in cpu:
        products.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16", cache_enabled=False):
            yield
    finally:
        for products, setting in zip((*cuda, *cpu), before, strict=True):
            products.fp32_precision = setting


def _products() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The settings of matrix products and convolutions, on CUDA and on the CPU."""
    backends: Any = torch.backends
    return (backends.cuda.matmul, backends.cudnn.conv), (backends.mkldnn.matmul, backends.mkldnn.conv)


def current(device: torch.device) -> Precision:
    """The current precision of products on this device, for cache keys."""
    if torch.is_autocast_enabled(device.type):
        return "bf16"
    (_, convolutions), _ = _products()
    return "tf32" if device.type == "cuda" and convolutions.fp32_precision == "tf32" else "float32"

"""Torch as it is when nobody has changed it: what is decoded must not depend on the settings of the program around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def plain_torch(device: torch.device | None = None, *, reading: bool = False) -> Iterator[None]:
    """Within it, new floats are float32, new tensors are on the CPU, autocast is off, and products are in full.

    Only what the program has changed is set, so that this costs next to nothing otherwise. The default dtype and the
    precision of products belong to the process: another thread that computes meanwhile has them, too.

    Args:
        device: where products are computed, if they are.
        reading: also leave inference mode, whose tensors could never take part in training.
    """
    with ExitStack() as stack:
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if reading and torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if device is not None:
            _in_full(device, stack)
        yield


def _in_full(device: torch.device, stack: ExitStack) -> None:
    """Compute products in full until the stack is closed."""
    for products in _products(device):
        if (precision := products.fp32_precision) not in _FULL[device.type == "cuda"]:
            products.fp32_precision = "ieee"
            stack.callback(setattr, products, "fp32_precision", precision)


_FULL = (("none", "ieee"), ("ieee",))
"""Settings that mean products in full, on the CPU and on CUDA, where convolutions use TF32 unless told otherwise."""


def _products(device: torch.device) -> tuple[Any, Any]:
    """The settings of matrix products and convolutions on a device."""
    backends: Any = torch.backends
    if device.type == "cuda":
        return backends.cuda.matmul, backends.cudnn.conv
    return backends.mkldnn.matmul, backends.mkldnn.conv

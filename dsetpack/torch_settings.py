"""torch's settings are the user's: what a pack holds and decodes must be the same under all of them.

Most are avoided by saying dtype and device wherever a tensor is made. This file has the ways around the others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

_BACKENDS: Any = torch.backends
PRODUCTS: dict[str, tuple[Any, ...]] = {
    "cpu": (_BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn.conv),
    "cuda": (_BACKENDS.cuda.matmul, _BACKENDS.cudnn.conv),
}
"""The settings ``fp32_precision`` of matrix products and convolutions by type of device."""
_FULL = ("none", "ieee")


@contextmanager
def lasting() -> Iterator[None]:
    """Make tensors that outlive the caller's context: never inference tensors, and on the CPU unless said otherwise.

    Gradients are off inside: ``inference_mode(False)`` alone would switch them on.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        yield


def as_lasting(values: Tensor) -> Tensor:
    """A copy if ``values`` is an inference tensor, which autograd would refuse for ever; otherwise itself."""
    if not values.is_inference():
        return values
    with lasting():
        return values.clone()


def exact(device: torch.device) -> AbstractContextManager[None]:
    """Compute in float32 in full: without autocast, and without TF32 or bfloat16 in products.

    torch has one precision of products for the whole process. So while one thread is in here and the user's setting is
    a coarser one, products of other threads on this type of device are in full, too. A compiled graph keeps the
    setting that it runs under; gradients are computed under that of ``backward``.
    """
    kind = device.type
    if torch.compiler.is_compiling():
        return _AS_IT_IS
    products = _IN_FULL.get(kind)
    if products is None and not torch.amp.is_autocast_available(kind):
        return _AS_IT_IS
    coarse = products is not None and products.needed()
    return _exact(kind, products if coarse else None) if coarse or torch.is_autocast_enabled(kind) else _AS_IT_IS


_AS_IT_IS = nullcontext()


@contextmanager
def _exact(kind: str, products: _InFull | None) -> Iterator[None]:
    with torch.autocast(kind, enabled=False), products or nullcontext():
        yield


class _InFull:
    """Products of one type of device in full for as long as any thread needs them, then as the user had them."""

    def __init__(self, products: tuple[Any, ...]) -> None:
        self._products = products
        self._before: list[tuple[Any, str]] = []
        self._inside = 0
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # a child has none of the other threads
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._in_child
            )

    def needed(self) -> bool:
        """Whether the setting is a coarser one, also if another thread holds it in full just now."""
        with self._lock:
            return self._inside > 0 or any(one.fp32_precision not in _FULL for one in self._products)

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                found = [(one, one.fp32_precision) for one in self._products]
                self._before = [(one, setting) for one, setting in found if setting not in _FULL]
                for one, _ in self._before:
                    one.fp32_precision = "ieee"

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._restore()

    def _restore(self) -> None:
        for one, setting in self._before:
            one.fp32_precision = "none"  # it inherits again, if it did
            if one.fp32_precision != setting:
                one.fp32_precision = setting

    def _in_child(self) -> None:
        if self._inside:
            self._inside = 0
            self._restore()
        self._lock.release()


_IN_FULL = {kind: _InFull(products) for kind, products in PRODUCTS.items()}

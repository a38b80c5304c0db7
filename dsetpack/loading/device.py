"""The device to compute on, checked once and early, and how batches are moved to it."""

from __future__ import annotations

import torch
from torch import Tensor

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.words import plural


def device_name(device: torch.device | str) -> str:
    """The name that torch has for a device: ``gpu`` and ``gpu:1`` are ``cuda`` and ``cuda:1``."""
    kind, colon, index = str(device).casefold().partition(":")
    return f"{'cuda' if kind == 'gpu' else kind}{colon}{index}"


def usable(device: torch.device | str) -> torch.device:
    """Check a device and return it with its index, if it has one.

    Args:
        device: as for torch; ``gpu`` is ``cuda``.

    Raises:
        DsetpackError: if torch does not know the device, or cannot use it here.
    """
    name = device_name(device)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # NotImplementedError is a RuntimeError
        raise DsetpackError(f"device {str(device)!r} cannot be used here ({_reason(name)}); use 'cpu'") from error


def _reason(name: str) -> str:
    """Why torch cannot use a device, in our words: torch's own ask for other builds, drivers and device types."""
    kind, _, index = name.partition(":")
    if kind != "cuda":
        return "expected cpu, cuda, or a device such as cuda:1"
    if not torch.cuda.is_available():
        return "torch finds no GPU" if torch.version.cuda else "this torch is built for CPUs"
    if index and not (index.isdecimal() and int(index) < torch.cuda.device_count()):
        return f"torch finds {plural(torch.cuda.device_count(), 'GPU')}, numbered from 0"
    return "torch gets no memory there: is the GPU full?"


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Move a tensor. A copy to a GPU does not wait; a copy to the CPU does, since its values may be read at once."""
    return values.to(device, non_blocking=device.type == "cuda")

"""The device to compute on, checked once and early, and how batches are moved to it."""

from __future__ import annotations

import torch
from torch import Tensor

from dsetpack.formats.errors import DsetpackError


def usable(device: torch.device | str) -> torch.device:
    """Check a device and return it with its index, if it has one.

    Raises:
        DsetpackError: if torch does not know the device, or cannot use it here.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # NotImplementedError is a RuntimeError
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise DsetpackError(f"device {str(device)!r} cannot be used here ({reason}); use 'cpu'") from error


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Move a tensor. A copy to a GPU does not wait; a copy to the CPU does, since its values may be read at once."""
    return values.to(device, non_blocking=device.type == "cuda")

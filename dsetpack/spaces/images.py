"""Raw images as a stream of batches, and the digest that pins them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dsetpack.formats.errors import FormatError

_VALUES = 2**22
"""The most values in a batch: 32 MB in float64, so that any number of images streams in modest memory."""


def raw_batches(x: Tensor) -> Iterator[Tensor]:
    """The images in order as float32 batches [n, C, H, W] in [0, 1], on ``x``'s device if that is CUDA, or on the CPU.

    Args:
        x: [N, C, H, W] float32 in [0, 1], or uint8, which is divided by 255.

    Raises:
        FormatError: if the shape or dtype is another, if there are no images, or if a value is NaN or outside [0, 1].
    """
    if x.ndim != 4 or not x.numel():
        raise FormatError(f"raw images have shape {list(x.shape)}; expected [N, C, H, W] with N, C, H, W >= 1")
    if x.dtype not in (torch.float32, torch.uint8):
        raise FormatError(f"raw images are {x.dtype}; expected float32 in [0, 1] or uint8")
    device = x.device if x.is_cuda else torch.device("cpu")
    rows = max(1, _VALUES // x[0].numel())
    for batch in torch.split(x.detach(), rows):
        if batch.dtype == torch.uint8:
            yield _over_255(batch).to(device)
            continue
        low, high = (v.item() for v in batch.aminmax())
        if not (low >= 0 and high <= 1):
            raise FormatError(
                f"raw images range from {low:g} to {high:g}; expected [0, 1]: pass images before normalisation, and "
                "pixels in 0..255 as uint8"
            )
        yield batch.to(device)


def _over_255(batch: Tensor) -> Tensor:
    # on the CPU, because CUDA multiplies by the rounded reciprocal and digests would differ
    return torch.from_numpy(batch.cpu().numpy() / np.float32(255))


def data_digest(x: Tensor) -> str:
    """``sha256:...`` of raw images: over N, C, H, W as little-endian uint64, then the float32 values, little-endian.

    The order is C order: image by image, channel by channel, row by row.

    Args:
        x: [N, C, H, W] float32 in [0, 1], or uint8, which is divided by 255 (and has the digest of the result).

    Raises:
        FormatError: as ``raw_batches``.
    """
    digest = hashlib.sha256()
    for number, batch in enumerate(raw_batches(x)):
        if not number:
            digest.update(struct.pack("<4Q", *x.shape))
        digest.update(batch.cpu().contiguous().numpy().astype("<f4", copy=False).data)
    return f"sha256:{digest.hexdigest()}"

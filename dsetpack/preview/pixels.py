"""From raw values to 8-bit pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dsetpack.pack.pack import Pack

BATCH = 256


def decoded(pack: Pack, pair_ids: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Decode pairs in batches, and yield each image as 8-bit raw values [C, H, W].

    Raises:
        DsetpackError: if the pack's space cannot be inverted before it is fitted again.
    """
    for start in range(0, len(pair_ids), BATCH):
        with torch.no_grad():
            yield from eight_bits(pack.space.invert(pack.decode(pair_ids[start : start + BATCH])[0]))


def eight_bits(images: Tensor) -> NDArray[np.uint8]:
    """Raw values clipped to [0, 1], times 255, rounded; NaN becomes 0."""
    pixels: NDArray[np.uint8] = (images.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().cpu().numpy()
    return pixels


def picture(image: NDArray[np.uint8]) -> Image.Image:
    """Draw an image [C, H, W]: of 1 or 2 channels the first as grey, otherwise the first three as RGB."""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) < 3 else image[:3].transpose(1, 2, 0)))

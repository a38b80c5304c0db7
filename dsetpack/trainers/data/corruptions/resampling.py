"""Resampling: corruptions that move or merge pixels, or pass them through a lossy codec."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dsetpack.trainers.data.corruptions.base import Corruption, Draws, Values, blurred, pixels, sampled, scale


def elastic_transform(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Move pixels by a random affine map and a smooth random displacement, both drawn for each image.

    Values, in pixels: the amplitude α and the smoothness σ of the displacement (uniform numbers in ±1, blurred by a
    Gaussian of standard deviation σ, times α, for rows and columns separately), and t: three points around the centre,
    a third of the shorter side away along each axis, move by up to ±t along each axis, and the affine map moves all
    pixels with them.

    As in CIFAR-10-C, t falls from level to level while the displacement grows, so pixels may change more at level 1.
    """
    amplitude, smooth, turn = (value * scale(x) for value in values)
    moved = (draws.uniform(2, 3) * 2 - 1) * turn
    local = blurred(draws.uniform(2, *x.shape[2:]) * 2 - 1, smooth) * amplitude
    (rows, columns), reach = pixels(x), max(1, min(x.shape[2:]) // 3)
    a, b = ((place - (side - 1) / 2) / reach for place, side in zip((rows, columns), x.shape[2:], strict=True))
    # barycentric coordinates for the points (1, 1), (1, -1) and (-1, -1)
    weights = torch.stack([(1 + b) / 2, (a - b) / 2, (1 - a) / 2])
    field = torch.einsum("nak,khw->nahw", moved, weights) + local
    return sampled(x, rows + field[:, 0], columns + field[:, 1])


def pixelate(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Shrink to ⌊c H⌋ x ⌊c W⌋ pixels, each the mean over its area, and enlarge again in the same way. Value: c."""
    small = [max(1, int(side * values[0])) for side in x.shape[2:]]
    for axis, (side, fewer) in enumerate(zip(x.shape[2:], small, strict=True)):
        resize = areas(fewer, side) @ areas(side, fewer)
        x = torch.einsum("nchw,kh->nckw" if axis == 0 else "nchw,kw->nchk", x, resize)
    return x


def areas(old: int, new: int) -> Tensor:
    """The matrix, float32 [new, old], that maps a line of ``old`` pixels to ``new`` pixels of the same total length.

    Row i holds the shares of new pixel i, from i / new to (i + 1) / new of the line, that old pixels cover; it sums
    to 1.
    """
    low = torch.maximum(torch.arange(new)[:, None] * old, torch.arange(old) * new)
    high = torch.minimum((torch.arange(new)[:, None] + 1) * old, (torch.arange(old) + 1) * new)
    return (high - low).clamp(min=0).float() / old


def jpeg_compression(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Pass images through a JPEG file of quality q, with Pillow's tables and subsampling. Value: q.

    The codec is libjpeg's, and another build of it may round a value differently.
    """
    made = [_jpeg(image, int(values[0])) for image in (x * 255).round().clamp(0, 255).byte().numpy()]
    return torch.from_numpy(np.stack(made)).float() / 255


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode an image uint8 [1 or 3, H, W] as a JPEG and decode it to the same shape."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.save(buffer, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer))
    return decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1)


CORRUPTIONS = {
    "elastic_transform": Corruption(
        elastic_transform,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
    "pixelate": Corruption(pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    "jpeg_compression": Corruption(jpeg_compression, ((80,), (65,), (58,), (50,), (40,)), channels=(1, 3)),
}

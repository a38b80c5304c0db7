"""Blur: corruptions that mix pixels with their neighbours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dsetpack.trainers.data.corruptions.base import (
    Corruption,
    Draws,
    Values,
    blurred,
    convolve,
    gaussian,
    pixels,
    sampled,
    scale,
)

FINE = 32
"""The number of points along each side of a pixel at which the disk is sampled."""


def gaussian_blur(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Blur by a Gaussian. Value: its standard deviation in pixels."""
    return blurred(x, values[0] * scale(x))


def defocus_blur(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Blur by a disk; each weight is the share of a pixel that the disk covers. Value: the radius in pixels.

    CIFAR-10-C draws the disk without anti-aliasing and blurs it, so its kernel changes in jumps with the radius; the
    radii here give the variances of its kernels (0.08, 0.21, 0.33, 0.40 and 0.67 pixels² per axis).
    """
    return convolve(x, disk(values[0] * scale(x)))


def motion_blur(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Blur by a trail to one side: half a Gaussian in a direction within 45° of the horizontal, drawn for each image.

    Value: the standard deviation in pixels. CIFAR-10-C also cuts the trail off at 12 to 18 pixels, where it has already
    faded; here it ends at four standard deviations.
    """
    sigma = values[0] * scale(x)
    angle = (draws.uniform(1, 1) - 0.5) * (math.pi / 2)
    rows, columns = pixels(x)
    steps = torch.arange(int(4 * sigma + 0.5) + 1, dtype=torch.float32)
    trail = [
        weight * sampled(x, rows + step * angle.sin(), columns + step * angle.cos())
        for step, weight in zip(steps, gaussian(steps, sigma), strict=True)
    ]
    return torch.stack(trail).sum(0)


def zoom_blur(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Average the image and its enlargements by 1.00, 1.01, ... to 1 + z about the centre. Value: z."""
    factors = 1 + torch.arange(round(values[0] * 100) + 1) / 100
    (rows, columns), (row, column) = pixels(x), ((side - 1) / 2 for side in x.shape[2:])
    zoomed = [sampled(x, (row + (rows - row) / f)[None], (column + (columns - column) / f)[None]) for f in factors]
    return torch.stack([x, *zoomed]).mean(0)


def disk(radius: float) -> Tensor:
    """The share of each pixel that a disk around the middle pixel's centre covers, scaled to sum 1; float32 [k, k]."""
    reach = math.ceil(radius - 0.5) if radius > 0.5 else 0
    if not radius:
        return torch.ones(1, 1)
    count = (2 * reach + 1) * FINE
    fine = (torch.arange(count, dtype=torch.float64) + 0.5) / FINE - count / FINE / 2
    inside = (fine[:, None].square() + fine.square() <= radius**2).double()
    weights = inside.view(2 * reach + 1, FINE, 2 * reach + 1, FINE).sum((1, 3))
    return (weights / weights.sum()).float()


CORRUPTIONS = {
    "gaussian_blur": Corruption(gaussian_blur, ((0.4,), (0.6,), (0.7,), (0.8,), (1,))),
    "defocus_blur": Corruption(defocus_blur, ((0.6,), (0.74,), (0.9,), (1.02,), (1.6,))),
    "motion_blur": Corruption(motion_blur, ((1,), (1.5,), (2,), (2.2,), (2.5,))),
    "zoom_blur": Corruption(zoom_blur, ((0.05,), (0.1,), (0.15,), (0.2,), (0.25,))),
}

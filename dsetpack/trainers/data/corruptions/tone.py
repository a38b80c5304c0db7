"""Tone: corruptions of brightness, contrast and colour, uniform or by fog."""

from __future__ import annotations

import torch
from torch import Tensor

from dsetpack.trainers.data.corruptions.base import Corruption, Draws, Values


def brightness(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Add c to the value V of HSV, up to 1; hue and saturation stay. Value: c.

    V is the largest channel, so channels are multiplied by min(V + c, 1) / V; a black pixel becomes grey. With one
    channel this is min(x + c, 1).
    """
    old = x.amax(1, keepdim=True)
    new = (old + values[0]).clamp(max=1)
    return torch.where(old > 0, x * (new / old.clamp(min=1e-12)), new)


def contrast(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Change x to m + c (x - m), where m is the mean of each channel of each image, which stays. Value: c."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + values[0] * (x - mean)


def saturate(x: Tensor, values: Values, draws: Draws) -> Tensor:  # noqa: ARG001
    """Change the saturation S of HSV to a S + b, clipped to [0, 1]; hue and value V stay. Values: a, b.

    V is the largest channel and V S the largest minus the smallest, so V - x is multiplied by the ratio of saturations.
    Grey pixels stay grey, because they have no hue (in CIFAR-10-C their hue is red).

    The first two levels take colour away and the others add it; level 3 damages least.
    """
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    old = chroma / value.clamp(min=1e-12)
    new = (values[0] * old + values[1]).clamp(0, 1)
    return torch.where(chroma > 0, value - (value - x) * (new / old.clamp(min=1e-12)), x)


def fog(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Change x to (x + c f) m / (m + c), with a random cloud f in [0, 1] and an image's largest value m. Values: c, d.

    Each of the cloud's octaves is weaker than the one before by a factor of d², so a smaller d makes the cloud rougher.
    """
    strength, decay = values
    largest = x.amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    cloud = plasma(draws, max(x.shape[2:]), decay)[:, None, : x.shape[2], : x.shape[3]]
    return (x + strength * cloud) * (largest / (largest + strength))


def plasma(draws: Draws, size: int, decay: float) -> Tensor:
    """Draw periodic clouds by diamond and square steps, float32 [n, S, S] in [0, 1].

    S is the smallest power of two that is at least 2 and at least ``size``. Each point in the middle of four others is
    their mean plus an offset, uniform within ±a; from one octave to the next the four are half as far away, and a is
    divided by ``decay``² (Fournier, Fussell and Carpenter 1982).
    """
    side = max(2, 1 << (size - 1).bit_length())
    noise = draws.uniform(side, side) * 2 - 1
    cloud, step, amplitude = torch.zeros_like(noise), side, 1.0
    while step >= 2:
        half = step // 2
        corner, middle = (slice(0, None, step),) * 2, (slice(half, None, step),) * 2
        upper, left = (slice(0, None, step), slice(half, None, step)), (slice(half, None, step), slice(0, None, step))
        corners = cloud[:, *corner]
        below = corners + corners.roll(-1, 1)
        cloud[:, *middle] = (below + below.roll(-1, 2)) / 4 + amplitude * noise[:, *middle]
        centres = cloud[:, *middle]
        rows, columns = centres + centres.roll(1, 1), centres + centres.roll(1, 2)
        cloud[:, *upper] = (rows + corners + corners.roll(-1, 2)) / 4 + amplitude * noise[:, *upper]
        cloud[:, *left] = (columns + corners + corners.roll(-1, 1)) / 4 + amplitude * noise[:, *left]
        step, amplitude = half, amplitude / decay**2
    cloud -= cloud.amin((1, 2), keepdim=True)
    return cloud / cloud.amax((1, 2), keepdim=True)


CORRUPTIONS = {
    "fog": Corruption(fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": Corruption(brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
    "contrast": Corruption(contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    "saturate": Corruption(saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), channels=(3,)),
}

"""The definition of a corruption, its random numbers, and the filters and resampling that corruptions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dsetpack.trainers.seeds import generator

SIZE = 32
"""The shorter side that lengths in pixels are meant for, CIFAR-10's; they grow with an image's own."""

Values = tuple[float, ...]


class Draws:
    """Random numbers for images: an image's numbers depend only on the seed, the corruption and the image's index.

    They do not depend on the level, so levels differ only in strength.
    """

    def __init__(self, seed: int, name: str, indices: Sequence[int]) -> None:
        self._generators = [generator(seed, "corrupt", name, index) for index in indices]

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, float32 [n, *shape]."""
        return torch.stack([torch.randn(shape, generator=own) for own in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """Draw uniform numbers in [0, 1), float32 [n, *shape]."""
        return torch.stack([torch.rand(shape, generator=own) for own in self._generators])

    def poisson(self, rates: Tensor) -> Tensor:
        """Draw Poisson counts with these rates, in the shape of ``rates``, [n, ...]."""
        return torch.stack([torch.poisson(rate, own) for rate, own in zip(rates, self._generators, strict=True)])


@dataclass(frozen=True)
class Corruption:
    """One way to damage images.

    Attributes:
        apply: maps raw images float32 [n, C, H, W] in [0, 1], the values of a level, and random numbers to images of
            the same shape, whose pixels may be outside [0, 1].
        levels: the values of levels 1 to 5.
        channels: the numbers of channels that the corruption is defined for; None for any.
    """

    apply: Callable[[Tensor, Values, Draws], Tensor]
    levels: tuple[Values, Values, Values, Values, Values]
    channels: tuple[int, ...] | None = None


def scale(x: Tensor) -> float:
    """The number of pixels of these images per pixel of a CIFAR-10 image, along an axis."""
    return min(x.shape[2:]) / SIZE


def gaussian(offsets: Tensor, sigma: float) -> Tensor:
    """Gaussian weights at ``offsets`` that sum to 1; if sigma is 0, all the weight is at offset 0."""
    weights = torch.exp(-offsets.square() / (2 * sigma**2)) if sigma else (offsets == 0).float()
    return weights / weights.sum()


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve images [n, C, H, W] with a kernel [k, l] of odd sides; images are mirrored, edge pixels included.

    With this border, kernels that are symmetric along each axis and sum to 1 keep the mean.
    """
    n, channels, height, width = x.shape
    rows, columns = (_mirrored(side, k // 2) for side, k in zip((height, width), kernel.shape, strict=True))
    padded = x[:, :, rows][:, :, :, columns].reshape(n * channels, 1, len(rows), len(columns))
    return F.conv2d(padded, kernel[None, None]).view(x.shape)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Blur images by a Gaussian of standard deviation ``sigma`` pixels, cut off at four standard deviations."""
    reach = int(4 * sigma + 0.5)
    weights = gaussian(torch.arange(-reach, reach + 1, dtype=torch.float32), sigma)
    return convolve(convolve(x, weights[:, None]), weights[None])


def pixels(x: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the column of each pixel, float32 [H, W]."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in x.shape[2:]), indexing="ij")
    return rows, columns


def sampled(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sample images at fractional places [n or 1, H, W], bilinearly; images are mirrored, edge pixels included."""
    height, width = x.shape[2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1).expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _mirrored(side: int, reach: int) -> Tensor:
    """The indices -reach ... side - 1 + reach, folded into 0 ... side - 1."""
    index = torch.arange(-reach, side + reach) % (2 * side)
    return torch.where(index < side, index, 2 * side - 1 - index)

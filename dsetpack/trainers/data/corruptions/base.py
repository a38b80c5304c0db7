"""What a corruption is, its random numbers, and the resampling that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dsetpack.trainers.seeds import generator

SIZE = 32
"""Lengths in pixels are meant for images of this shorter side, CIFAR-10's, and grow with it."""

Values = tuple[float, ...]


class Draws:
    """Random numbers for images: those of an image depend on the seed, the corruption and its index alone.

    They do not depend on the level, so that levels differ by their strength only.
    """

    def __init__(self, seed: int, name: str, indices: Sequence[int]) -> None:
        self._generators = [generator(seed, "corrupt", name, index) for index in indices]

    def normal(self, *shape: int) -> Tensor:
        """float32 [n, *shape], standard normal."""
        return torch.stack([torch.randn(shape, generator=own) for own in self._generators])

    def uniform(self, *shape: int) -> Tensor:
        """float32 [n, *shape] in [0, 1)."""
        return torch.stack([torch.rand(shape, generator=own) for own in self._generators])

    def poisson(self, rates: Tensor) -> Tensor:
        """Counts of the shape of ``rates``, [n, ...]."""
        return torch.stack([torch.poisson(rate, own) for rate, own in zip(rates, self._generators, strict=True)])


@dataclass(frozen=True)
class Corruption:
    """One way to damage images.

    Attributes:
        apply: raw images float32 [n, C, H, W] in [0, 1], the values of a level, and random numbers -> images of that
            shape, which may leave [0, 1].
        levels: the values of levels 1 to 5.
        channels: the numbers of channels that it is defined for; None for any.
    """

    apply: Callable[[Tensor, Values, Draws], Tensor]
    levels: tuple[Values, Values, Values, Values, Values]
    channels: tuple[int, ...] | None = None


def scale(x: Tensor) -> float:
    """Pixels of these images in one pixel of a CIFAR-10 image."""
    return min(x.shape[2:]) / SIZE


def gaussian(offsets: Tensor, sigma: float) -> Tensor:
    """Gaussian weights at ``offsets`` that sum to 1; at sigma 0, all at offset 0."""
    weights = torch.exp(-offsets.square() / (2 * sigma**2)) if sigma else (offsets == 0).float()
    return weights / weights.sum()


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Images [n, C, H, W] with a kernel [k, l] of odd sides; mirrored at the edges, the edge pixel repeated.

    With that, kernels that are symmetric along each axis and sum to 1 keep the mean.
    """
    n, channels, height, width = x.shape
    rows, columns = (_mirrored(side, k // 2) for side, k in zip((height, width), kernel.shape, strict=True))
    padded = x[:, :, rows][:, :, :, columns].reshape(n * channels, 1, len(rows), len(columns))
    return F.conv2d(padded, kernel[None, None]).view(x.shape)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Images through a Gaussian of standard deviation ``sigma`` pixels, cut off at four of them."""
    reach = int(4 * sigma + 0.5)
    weights = gaussian(torch.arange(-reach, reach + 1, dtype=torch.float32), sigma)
    return convolve(convolve(x, weights[:, None]), weights[None])


def pixels(x: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the column of each pixel, float32 [H, W]."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in x.shape[2:]), indexing="ij")
    return rows, columns


def sampled(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images at fractional places [n or 1, H, W], bilinear, mirrored at the edges, the edge pixel repeated."""
    height, width = x.shape[2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1).expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _mirrored(side: int, reach: int) -> Tensor:
    """Indices -reach ... side - 1 + reach folded into 0 ... side - 1."""
    index = torch.arange(-reach, side + reach) % (2 * side)
    return torch.where(index < side, index, 2 * side - 1 - index)

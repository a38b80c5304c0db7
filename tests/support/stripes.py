"""Images that are easy to tell apart."""

import torch

from dsetpack.formats.card import Recipe
from dsetpack.trainers.data import ImageData

RECIPE = Recipe(steps=12, batch_size=8, lr=0.05, width=4)


def stripes(count: int = 60, seed: int = 0, noise: int = 40) -> ImageData:
    """Class 0 has rows, class 1 has columns."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    pattern = torch.zeros(2, 1, 16, 16)
    pattern[0, :, ::4], pattern[1, :, :, ::4] = 180, 180
    x = pattern[y] + torch.randint(0, noise, (count, 1, 16, 16), generator=g)
    return ImageData(x.to(torch.uint8), y, ("rows", "columns"), "stripes")

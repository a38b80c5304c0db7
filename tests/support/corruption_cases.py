"""Images to corrupt."""

import torch

from dsetpack.trainers.data import ImageData
from dsetpack.trainers.data.corrupt import CORRUPTIONS
from dsetpack.trainers.data.corruptions.base import Draws, blurred

GREY = [name for name, made in CORRUPTIONS.items() if made.channels is None or 1 in made.channels]


def flat(value: float, count: int = 8, shape=(3, 32, 32)) -> ImageData:
    x = torch.full((count, *shape), value)
    return ImageData(x, torch.zeros(count, dtype=torch.int64), ("only",), "flat")


def noisy(count: int = 4, shape=(3, 32, 32), seed: int = 0, dtype=torch.uint8) -> ImageData:
    x = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    x = x if dtype == torch.uint8 else x.float() / 255
    return ImageData(x, torch.arange(count) % 2, ("a", "b"), "noisy")


def smooth(count: int = 4, shape=(3, 32, 32)) -> torch.Tensor:
    return blurred(noisy(count, shape).raw(), 2.0)


def apply(name: str, x: torch.Tensor, *values: float) -> torch.Tensor:
    return CORRUPTIONS[name].apply(x, values, Draws(0, name, range(len(x))))

"""What the tests of distribution matching share."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dsetpack.spaces import Raw
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.trainers.objectives.means import NetworkPool
from dsetpack.training.augment import Dsa

IMAGE, CLASSES = (1, 8, 8), 2
UNUSED = torch.zeros(CLASSES, 1)


def images(per_class: int = 7, classes: int = CLASSES, seed: int = 0) -> ImageData:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (per_class * classes, *IMAGE), generator=g, dtype=torch.uint8)
    y = torch.arange(per_class * classes) % classes
    return ImageData(x, y, tuple("abcdefgh"[:classes]), "noise")


class TinyNet(nn.Module):
    """A network small enough for double precision and many gradients."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(5, 64, generator=generator, dtype=torch.float64)

    def embed(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.weight.T)


def pool(count: int = 3, width: int = 4, seed: int = 0) -> NetworkPool:
    return NetworkPool("convnet3", width, count, seed, IMAGE, CLASSES)


def context(data: ImageData, augment: Dsa | None = None) -> Context:
    return Context(data, Raw(), 1, 0, Path("unused"), lambda phase: Run(), augment)

"""What the tests of gradient matching share: tiny networks and sets in double precision."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsetpack.formats.card import Augmentation
from dsetpack.spaces import Raw
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.trainers.networks import Network
from dsetpack.trainers.objectives import dc
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.training.augment import Dsa

Image = tuple[int, int, int]
IMAGE, CLASSES = (1, 8, 8), 2
DSA = Augmentation(ops=("color", "crop", "cutout", "flip", "scale", "rotate"))


class Doubled(Raw):
    def apply(self, x: Tensor) -> Tensor:
        return x.double()


class Pixels(Parameterization):
    """Images as they are, with or without learned labels."""

    lr = 0.1

    def __init__(self, x: Tensor, labels: Tensor, soft: bool = False) -> None:
        super().__init__()
        self.x = nn.Parameter(x.clone())
        self.soft = nn.Parameter(F.one_hot(labels, CLASSES).to(x) * 0.9 + 0.05) if soft else None
        self.space = Raw()
        self.register_buffer("labels", labels)

    def images(self, pair_ids: Tensor | None = None) -> Tensor:
        return self.x * 1.0 if pair_ids is None else self.x[pair_ids]

    def targets(self, pair_ids: Tensor | None = None) -> Tensor | None:
        return self.soft if self.soft is None or pair_ids is None else self.soft[pair_ids]

    def groups(self) -> Any:
        return [{"name": "pixels", "params": list(self.parameters()), "lr": self.lr}]

    def parts(self) -> Any:
        raise NotImplementedError


def squares(per_class: int = 12, image: Image = IMAGE) -> ImageData:
    """Noisy squares, left or right."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(per_class * CLASSES) % CLASSES
    x = torch.randint(0, 100, (len(y), *image), generator=g, dtype=torch.uint8)
    for n, label in enumerate(y):
        left = image[2] // 2 * int(label)
        x[n, :, 2:6, left : left + image[2] // 2] += 120
    return ImageData(x, y, ("left", "right"), "squares")


def context(data: ImageData | None = None, *, double: bool = True, augment: bool = False, ipc: int = 1) -> Context:
    space = Doubled() if double else Raw()
    run = lambda name: Run()  # noqa: E731
    return Context(data or squares(), space, ipc, 5, Path("unused"), run, Dsa(DSA) if augment else None)


def pixels(
    per_class: int = 2, image: tuple[int, int, int] = IMAGE, dtype: Any = torch.float64, **options: Any
) -> Pixels:
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    return Pixels(torch.rand(len(labels), *image, generator=g, dtype=torch.float64).to(dtype), labels, **options)


def small(name: str, image: Any, classes: int, width: int | None, *, seed: int) -> Network:
    """A replacement for ``network``: two layers in double precision, or only a linear one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "linear":
            return Network(nn.Identity(), math.prod(image), classes).double()
        body = nn.Sequential(nn.Conv2d(image[0], 3, 3), nn.GroupNorm(3, 3), nn.Tanh(), nn.AvgPool2d(2))
        return Network(body, 3 * ((image[1] - 2) // 2) * ((image[2] - 2) // 2), classes).double()


def match(made: Pixels, where: Context, step: int = 0, seed: int = 0, **settings: Any) -> tuple[float, Any]:
    """Loss and objective after one ``backward``."""
    objective = dc.DcSettings(**settings).build(where, made)
    made.zero_grad()
    return objective.backward(made, step, torch.Generator().manual_seed(seed))["matching"].item(), objective

"""What the tests of HaBa share: small data, sets made from it, and the game over a set."""

from typing import Any

import torch

from dsetpack.spaces import Normalized, Space
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives.adversary import (
    Adversarial,
    AdversarySettings,
)
from dsetpack.trainers.objectives.base import Objective
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import NetworkPool, RealMeans
from dsetpack.trainers.parameterizations.haba import Haba, HabaSettings

CIFAR, IMAGE = (3, 32, 32), (3, 8, 8)
BASES = 3


def images(per_class: int = 20, classes: int = 2, image: tuple[int, int, int] = IMAGE) -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 120, (per_class * classes, *image), generator=g, dtype=torch.uint8)
    y = torch.arange(len(x)) % classes
    for n, label in enumerate(y):
        x[n, :, :, 4 * int(label) : 4 * int(label) + 4] += 120
    return ImageData(x, y, tuple("abc"[:classes]), "noise")


def context(
    tmp_path, data: ImageData | None = None, seed: int = 0, ipc: int = 20, space: Space | None = None
) -> Context:
    data = data or images()
    return Context(data, space or Normalized.fit(data.images), ipc, seed, tmp_path, lambda phase: Run(name=phase))


def built(tmp_path, seed: int = 0, data: ImageData | None = None, **settings: Any) -> Haba:
    options = {"hallucinators": 3, "sources": BASES, "lr_bases": 1.0, "lr_hallucinators": 0.1} | settings
    return HabaSettings(**options).build(context(tmp_path, data, seed))


def small_adversary(image: tuple[int, int, int] = IMAGE, seed: int = 5, width: int = 6):
    return network("convnet3", image, 2, width, seed=seed)


class Nothing(Objective):
    """An inner objective without a gradient."""

    def backward(self, synthetic, step, generator):
        return {"nothing": torch.zeros(())}


def game(synthetic: Haba, net: Any = None, inner: Objective | None = None, **settings: Any) -> Adversarial:
    return Adversarial(inner or Nothing(), AdversarySettings(**settings), None, synthetic, net or small_adversary())


def matching(data: ImageData) -> DistributionMatching:
    pool = NetworkPool("convnet3", 8, 4, 0, data.shape, 2)
    return DistributionMatching(RealMeans(pool, data, Normalized.fit(data.images)))

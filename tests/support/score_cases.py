"""What the tests of robustness scores share."""

import torch

import dsetpack
from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.trainers.data import ImageData

RECIPE = Recipe(steps=8, batch_size=16, lr=0.02, width=4)


def data(count: int = 40, seed: int = 0, shape=(1, 8, 8), name: str = "noise") -> ImageData:
    x = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return ImageData(x, torch.arange(count) % 2, ("a", "b"), name)


def pack(soft: bool = False, recipe: Recipe = RECIPE, **card) -> dsetpack.Pack:
    real = data(8, seed=1)
    labels = torch.eye(2)[real.labels] * 0.8 + 0.1 if soft else real.labels
    return dsetpack.Pack.from_arrays(real.images, labels, classes=real.classes, recipe=recipe, title="mine", **card)


AUGMENT = Augmentation(ops=("crop",))

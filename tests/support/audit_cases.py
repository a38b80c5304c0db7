"""Noise for the tests of audits."""

import torch

import dsetpack
from dsetpack.formats.card import Provenance, Recipe
from dsetpack.trainers.data import ImageData

RECIPE = Recipe(steps=4, batch_size=16, lr=0.02, width=4)


def noise(count: int = 60, seed: int = 0, name: str = "noise") -> ImageData:
    """Meaningless images with random labels: a network can know a label only if it memorised it."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, 1, 8, 8), generator=g, dtype=torch.uint8)
    y = torch.randint(0, 3, (count,), generator=g)
    return ImageData(x, y, ("a", "b", "c"), name)


def pack(members: ImageData | None = None, **card) -> dsetpack.Pack:
    real = noise(6, seed=9)
    if members is not None:
        card["provenance"] = Provenance(dataset=members.name, dataset_digest=members.digest)
    card = {"recipe": RECIPE, "title": "mine", **card}
    return dsetpack.Pack.from_arrays(real.images, real.labels, classes=real.classes, **card)

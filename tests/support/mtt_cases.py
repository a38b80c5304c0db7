"""What tests of trajectory matching and of its experts share: tiny sets, data and settings."""

from pathlib import Path

import torch
from torch import nn

from dsetpack.decoders import decoder
from dsetpack.formats.card import Augmentation, NormalizedSpace
from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Group, Run
from dsetpack.trainers.objectives.mtt import MttSettings
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.parameterizations.kfs import Kfs
from dsetpack.training.augment import Dsa

IMAGE, CLASSES = (2, 8, 10), 3
DSA = Dsa(Augmentation(ops=("color", "crop", "scale"), mode="all"))


class Pixels(Parameterization):
    """The smallest set: images themselves."""

    def __init__(self, per_class: int = 2, lr: float = 1.0) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(5)
        self.pixels = nn.Parameter(torch.rand(per_class * CLASSES, *IMAGE, generator=drawn))
        self.register_buffer("labels", torch.arange(CLASSES).repeat_interleave(per_class), persistent=False)
        self.space, self.lr = Raw(), lr

    def images(self, pair_ids=None):
        return self.pixels if pair_ids is None else self.pixels[pair_ids]

    def groups(self):
        return [Group(name="pixels", params=[self.pixels], lr=self.lr)]

    def parts(self):
        raise NotImplementedError


def kfs() -> Kfs:
    torch.manual_seed(0)
    bank = decoder("kfs", KfsConfig(decoders=2, channels=(3, 2), kernel=4), IMAGE, CLASSES)
    codes = torch.randn(CLASSES, *bank.config.source_shape(IMAGE))
    return Kfs(
        codes,
        torch.arange(CLASSES),
        bank,
        Normalized(NormalizedSpace(mean=(0.4, 0.5), std=(0.2, 0.3))),
        lr_codes=0.3,
        lr_decoders=0.03,
    )


def images(per_class: int = 7, seed: int = 0) -> ImageData:
    """Noise with a bright bar, at a different place for each class."""
    drawn = torch.Generator().manual_seed(seed)
    y = torch.arange(per_class * CLASSES) % CLASSES
    x = torch.randint(0, 90, (len(y), *IMAGE), generator=drawn)
    for n, label in enumerate(y.tolist()):
        x[n, :, :, 3 * label + 1 : 3 * label + 3] += 150
    return ImageData(x.to(torch.uint8), y, tuple("abc"), "noise")


def context(cache: Path, data: ImageData | None = None, seed: int = 0, augment: Dsa | None = None) -> Context:
    data = data or images()
    return Context(data, Normalized.fit(data.images), 2, seed, cache, lambda name: Run(name=name), augment)


SMALL = MttSettings(
    width=4,
    syn_steps=3,
    expert_epochs=2,
    max_start=2,
    lr=0.05,
    lr_lr=1e-3,
    syn_batch=4,
    experts={"count": 2, "epochs": 3, "batch": 8, "lr": 0.05},
)

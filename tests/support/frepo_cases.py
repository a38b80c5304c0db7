"""What tests of FRePo and ISA share: tiny data and sets with learned labels."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dsetpack.spaces import Raw
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.krr import centred
from dsetpack.trainers.loop import Group, Run
from dsetpack.trainers.objectives import frepo
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.seeds import generator
from dsetpack.training.augment import Dsa

IMAGE, CLASSES = (1, 8, 8), 3
SMALL = {"width": 4, "pool": 3, "updates": 2, "batch": 16, "online_lr": 1e-2}


def images(per_class: int = 12, channels: int = 1) -> ImageData:
    """A bright bar in one of three places, on noise."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(per_class * CLASSES) % CLASSES
    x = torch.randint(0, 80, (len(y), channels, 8, 8), generator=g, dtype=torch.uint8)
    for n, label in enumerate(y.tolist()):
        x[n, :, 3 * label : 3 * label + 2] += 150
    return ImageData(x, y, ("top", "middle", "bottom"), "bars")


def context(data: ImageData | None = None, augment: Dsa | None = None, seed: int = 0) -> Context:
    return Context(data or images(), Raw(), 1, seed, Path("unused"), lambda name: Run(), augment)


class Learned(Parameterization):
    """Images and, if wanted, labels as they are; a stand-in for the parameterization of images."""

    def __init__(self, data: ImageData, per_class: int = 2, soft: bool = True) -> None:
        super().__init__()
        self.space = Raw()
        index = data.draw(per_class, 0)
        self.pixels = nn.Parameter(data.raw(index) * 0.3 + 0.4 * torch.rand(data.shape, generator=generator(0, "x")))
        self.register_buffer("labels", data.labels[index], persistent=False)
        self.soft = nn.Parameter(0.6 * centred(self.labels, CLASSES).float()) if soft else None

    def images(self, pair_ids=None):
        return self.pixels if pair_ids is None else self.pixels[pair_ids]

    def targets(self, pair_ids=None):
        return self.soft if self.soft is None or pair_ids is None else self.soft[pair_ids]

    def groups(self):
        return [Group(name="all", params=list(self.parameters()), lr=0.02)]

    def parts(self):
        raise NotImplementedError


def built(settings: frepo.FrepoSettings, *, where: Context | None = None, **options: object) -> Distillation:
    where = where or context()
    synthetic = Learned(where.data, **options)
    return Distillation(settings.build(where, synthetic), synthetic)


def flat(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in items for k, v in flat(item, f"{path}/{key}").items()}
    return {path: value}


def same(first: object, second: object) -> bool:
    a, b = flat(first), flat(second)
    assert a.keys() == b.keys()
    return all(torch.equal(v, b[k]) if isinstance(v, Tensor) else v == b[k] for k, v in a.items())


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

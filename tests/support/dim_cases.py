"""What the tests of DiM share: stripes, a small GAN, a small matching."""

from pathlib import Path

import torch
from torch import nn

from dsetpack.formats.card import NormalizedSpace
from dsetpack.spaces import Normalized, Raw, Space
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.gan import GanSettings
from dsetpack.trainers.loop import Run
from dsetpack.trainers.objectives.logits import LogitsSettings
from dsetpack.trainers.parameterizations.generator import GeneratorSettings

IMAGE, CLASSES = (1, 8, 8), 2
TINY = GeneratorSettings(width=6, noise=8, per_class=3, lr=1e-3)
NORMALIZED = Normalized(NormalizedSpace(mean=(0.5,), std=(0.25,)))


def images() -> ImageData:
    """Stripes two pixels wide, horizontal or vertical."""
    noise = torch.randint(0, 40, (40, *IMAGE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    y = torch.arange(40) % CLASSES
    lying = (torch.arange(8) // 2 % 2 * 200)[:, None].expand(8, 8)
    x = noise + torch.stack([lying, lying.T])[y][:, None].to(torch.uint8)
    return ImageData(x, y, ("lying", "standing"), "stripes")


def context(folder: Path | None = None, *, space: Space | None = None, **run: object) -> Context:
    return Context(
        data=images(),
        space=space or Raw(),
        ipc=5,
        seed=3,
        cache=Path("unused"),
        run=lambda phase: Run(folder, phase, **run),
        augment=None,
    )


def gan(**changes: object) -> GanSettings:
    return GanSettings(**{"steps": 4, "batch": 8, "width": 4, "lr": 2e-3, **changes})


def logits(**changes: object) -> LogitsSettings:
    usual = {
        "gan": gan(),
        "networks": ("convnet3", "resnetap10"),
        "network_width": 4,
        "batch": 8,
        "real_steps": 2,
        "epoch_steps": 2,
        "lr_critic": 1e-3,
    }
    return LogitsSettings(**{**usual, **changes})


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)

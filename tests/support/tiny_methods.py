"""Every method in miniature: recipes from files, and a few real images."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.recipe import DistillRecipe, load_recipe

CLASSES, EACH = (0, 1, 8), 40

COMMON = """
method = "tiny"
ipc = 2
[schedule]
steps = 10
[evaluation]
steps = 3
batch_size = 8
width = 4
"""

OBJECTIVES: dict[str, dict[str, Any]] = {
    "dc": {"width": 4, "real_batch": 16, "outer": 2, "inner": 1},
    "dm": {"width": 8, "networks": 4},
    "frepo": {"width": 4, "pool": 2, "updates": 4, "batch": 32},
    "isa": {"width": 4, "pool": 2, "updates": 4, "batch": 32},
    "logits": {
        "gan": {"steps": 20, "batch": 16, "lr": 0.001}, "weight": 30.0,
        "networks": ["convnet3"], "network_width": 4, "epoch_steps": 1, "batch": 16, "real_steps": 1, "lr_critic": 1e-4,
    },
    "mtt": {
        "width": 4, "syn_steps": 4, "expert_epochs": 1, "max_start": 2, "lr": 0.02, "lr_lr": 1e-4,
        "experts": {"count": 2, "epochs": 2, "batch": 16, "lr": 0.02},
    },
}  # fmt: skip
"""The settings of each objective."""

PARAMETERIZATIONS: dict[str, dict[str, Any]] = {
    "generator": {"width": 4, "noise": 8, "per_class": 4, "lr": 0.003},
    "haba": {
        "hallucinators": 2, "sources": 2, "over_parameterisation": 8.0, "lr_bases": 0.03, "lr_hallucinators": 0.01,
    },
    "images": {"init": "noise", "lr": 0.05},
    "kfs": {
        "decoders": 2, "channels": [3, 2, 2], "sources": 2, "over_parameterisation": 8.0,
        "encoder_width": 4, "pretrain_batch": 8, "pretrain": {"steps": 30},
    },
    "upsample": {"lr": 0.02},
}  # fmt: skip
"""The settings of each parameterization; learning rates are for Adam, the schedule's default optimiser."""


@cache
def real(side: int = 28) -> ImageData:
    """Three classes of the shipped sample, 40 images each, called 0, 1, 2; shrunk if ``side`` is less than 28."""
    whole = load("fashion-sample")
    index = torch.cat([whole.of_class(label)[:EACH] for label in CLASSES])
    images = whole.images[index]
    if side < 28:
        images = F.adaptive_avg_pool2d(images.float(), side).round().to(torch.uint8)
    labels = torch.arange(len(CLASSES)).repeat_interleave(EACH)
    return ImageData(images, labels, tuple(whole.classes[label] for label in CLASSES), "fashion-sample")


def table(objective: str, on: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a pair by dotted name, with changes."""
    return {
        "objective": {"name": objective, **OBJECTIVES[objective]},
        "parameterization": {"name": on, **PARAMETERIZATIONS[on]},
        **(changes or {}),
    }


def tiny(folder: Path, objective: str, on: str, changes: dict[str, Any] | None = None) -> DistillRecipe:
    """A pair's recipe, loaded from a file in the folder, with changes by dotted name."""
    path = folder / "tiny.toml"
    path.write_text(COMMON)
    return load_recipe(path, table(objective, on, changes))

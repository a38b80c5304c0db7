"""Methods in miniature, for tests of all of them: recipes as files, on 3 × 40 real images."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.recipe import DistillRecipe, recipe

CLASSES, EACH = (0, 1, 8), 40

COMMON = """
method = "tiny"
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
        "gan": {"steps": 8, "batch": 16, "lr": 0.001},
        "networks": ["convnet3"], "network_width": 4, "epoch_steps": 4, "batch": 16, "real_steps": 1, "lr_critic": 1e-4,
    },
    "mtt": {
        "width": 4, "syn_steps": 4, "expert_epochs": 1, "max_start": 2, "lr": 0.02, "lr_lr": 1e-4,
        "experts": {"count": 2, "epochs": 2, "batch": 16, "lr": 0.02},
    },
}  # fmt: skip
"""The settings of each objective."""

PARAMETERIZATIONS: dict[str, dict[str, Any]] = {
    "generator": {"width": 4, "noise": 8, "per_class": 4, "lr": 0.001},
    "haba": {"hallucinators": 2, "over_parameterisation": 8.0, "sources": 2},
    "images": {},
    "kfs": {
        "decoders": 2, "channels": [3, 2, 2], "encoder_width": 4, "pretrain_batch": 8, "pretrain": {"steps": 4},
        "sources": 2, "over_parameterisation": 1.0,
    },
    "upsample": {},
}  # fmt: skip
"""The settings of each parameterization."""


@cache
def real() -> ImageData:
    """Three classes of the shipped sample, 40 images each, called 0, 1, 2."""
    whole = load("fashion-sample")
    index = torch.cat([whole.of_class(label)[:EACH] for label in CLASSES])
    labels = torch.arange(len(CLASSES)).repeat_interleave(EACH)
    names = tuple(whole.classes[label] for label in CLASSES)
    return ImageData(whole.images[index], labels, names, "fashion-sample")


def tiny(folder: Path, objective: str, on: str, **changes: Any) -> DistillRecipe:
    """A recipe for a pair, through a file.

    Args:
        folder: for the file.
        objective, on: names.
        changes: by dotted name, a double underscore for each dot.
    """
    path = folder / "tiny.toml"
    path.write_text(COMMON)
    table = {
        "ipc": 2,
        "objective": {"name": objective, **OBJECTIVES[objective]},
        "parameterization": {"name": on, **PARAMETERIZATIONS[on]},
        "schedule.steps": 6,
    }
    return recipe(path, table | {key.replace("__", "."): value for key, value in changes.items()})

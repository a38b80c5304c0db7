"""What ``measure/continual.py`` compares: memories, networks, and how much work each scale does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.common import short_hash
from dsetpack.trainers.recipe import load_recipe

NETS = ("convnet3", "resnet10")
"""The networks that train on the memories."""
DISTILLED = ("kfs", "haba", "dm")
"""Memories of distilled packs, by method."""
REAL = ("herding", "random", "uncompressed")
"""Memories of real images, by how they are picked."""
METHODS = (*DISTILLED, *REAL, "all")
"""All memories; ``all`` is the upper bound, all real images of the classes seen."""
NAMES = {
    "kfs": "KFS",
    "haba": "HaBa (DM)",
    "dm": "DM, plain images",
    "herding": "real, herding",
    "random": "real, random",
    "uncompressed": "real, random, not compressed",
    "all": "all real images (upper bound)",
}
"""The names of the memories in tables and plots."""


@dataclass(frozen=True)
class Scale:
    """How much work is done.

    Attributes:
        name: the name of the scale; the folder of results ends in it.
        widths: widths of the networks that train on memories; a network that is left out has the paper's width.
        steps: steps of every training.
        batch: images per step.
        suffix: the end of the recipes' names.
        settings: changes of the recipe, by method.
        real: real images per class that methods distill; None for all.
        per_class: a memory may have the bytes of this many uint8 images for each class seen.
    """

    name: str
    widths: Mapping[str, int]
    steps: int
    batch: int
    suffix: str
    settings: Mapping[str, Mapping[str, Any]]
    real: int | None = None
    per_class: int = 20

    def protocol(self, method: str, net: str) -> dict[str, Any]:
        """Everything that a row depends on besides data, method, network and seed."""
        return {
            "scale": self.name,
            "width": self.widths.get(net),
            "steps": self.steps,
            "batch_size": self.batch,
            "per_class": self.per_class,
            "real": self.real,
            "settings": dict(self.settings.get(method, {})),
            "memories": self.digest(method),
        }

    def digest(self, method: str) -> str:
        """A digest of everything that the memories of a method depend on besides data and seed."""
        told: dict[str, Any] = {}
        if method in (*DISTILLED, "herding"):
            chosen = load_recipe(method + self.suffix, dict(self.settings.get(method, {})))
            told = chosen.model_dump(mode="json", exclude={"title", "inferred", "figures"})
        return short_hash([self.per_class, self.real, told])


_MATCH = {"objective.networks": 100, "objective.width": 32}
CPU = Scale(
    "cpu",
    widths={"convnet3": 32, "resnet10": 16},
    steps=1000,
    batch=64,
    suffix="-cpu",
    settings={
        "kfs": {
            **_MATCH,
            "schedule.steps": 400,
            "objective.share": 0.25,
            "parameterization.decoders": 2,
            "parameterization.encoder_width": 16,
            "parameterization.pretrain.steps": 200,
        },
        "haba": {**_MATCH, "schedule.steps": 200},
        "dm": {**_MATCH, "schedule.steps": 800},
        "herding": {"parameterization.selection.epochs": 2, "parameterization.selection.width": 32},
    },
    real=1000,
)
FULL = Scale("full", widths={}, steps=3000, batch=128, suffix="", settings={"haba": {"space": "normalized"}})
_FEW = {"objective.networks": 1, "objective.width": 4, "schedule.steps": 2}
SMOKE = Scale(
    "smoke",
    widths=dict.fromkeys(NETS, 4),
    steps=3,
    batch=128,
    suffix="-cpu",
    settings={
        "kfs": {**_FEW, "parameterization.pretrain.steps": 3, "parameterization.pretrain_batch": 16},
        "haba": _FEW,
        "dm": _FEW,
        "herding": {"parameterization.selection.steps": 2, "parameterization.selection.width": 4},
    },
    per_class=8,
)
"""A scale for tests: everything runs, nothing is learned."""
SCALES = {scale.name: scale for scale in (CPU, FULL, SMOKE)}

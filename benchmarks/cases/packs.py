"""The packs of ``measure/container.py``: every decoder kind, in several sizes and every encoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsetpack import formats
from dsetpack.formats.card import Augmentation, Card, Metric, NormalizedSpace, Provenance, Recipe
from dsetpack.formats.kinds import kind_config

PRESETS = ("exact", "f16", "int8", "int4")
SIZES = {"images": (2, 8, 40, 100, 400, 2000), "kfs": (2, 10, 50, 200, 1000), "haba": (1, 10, 50), "upsample": (2, 20)}
"""Sources per class, by decoder kind."""
CONFIGS: dict[str, dict[str, Any]] = {
    "images": {},
    "kfs": {"decoders": 8, "channels": [12, 9, 6]},
    "haba": {"decoders": 5},
    "upsample": {"factor": 2},
    "generator": {"width": 32, "noise": 100},
}
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SAMPLE = Path(__file__).parents[2] / "dsetpack" / "data" / "fashion-sample.dpk"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One pack, and the encoding that it is written in."""

    name: str
    kind: str
    data: str
    preset: str
    card: Card
    part: formats.PartEntry
    tensors: Arrays

    def file(self) -> bytes:
        """The bytes of the pack's file."""
        return formats.encode(self.card, [self.part], self.tensors, self.preset)


def cases() -> list[Case]:
    """All packs of the table."""
    made = [case(kind, n, "learned", preset) for kind, sizes in SIZES.items() for n in sizes for preset in PRESETS]
    made += [case("images", n, "fashion", "exact") for n in (2, 10, 50, 200)]
    return made + [case("generator", 0, "learned", preset) for preset in PRESETS]


def case(kind: str, count: int, data: str, preset: str) -> Case:
    """Make a pack with ``count`` sources per class.

    The values are normally distributed if ``data`` is "learned", and real 8-bit pixels if it is "fashion".
    """
    shape = (1, 28, 28) if kind != "generator" else (3, 32, 32)
    card, config = distilled_card(kind, CLASSES, shape), kind_config(kind).model_validate(CONFIGS[kind])
    rng = np.random.default_rng(1)
    shapes = config.bank_shapes(shape, len(CLASSES))
    tensors = {role: (rng.standard_normal(s) / 10).astype(np.float32) for role, s in shapes.items()}
    if config.has_sources:
        if data == "fashion":
            with formats.Reader(SAMPLE) as reader:
                tensors["sources"] = reader.tensor(reader.manifest.parts[0].tensors["sources"])[: 10 * count]
        else:
            tensors["sources"] = rng.standard_normal((10 * count, *config.source_shape(shape))).astype(np.float32)
        tensors["labels"] = (np.arange(len(tensors["sources"])) % 10).astype(np.uint8)
    sources = len(tensors["sources"]) if config.has_sources else 0
    part = formats.PartEntry(kind=kind, config=CONFIGS[kind], sources=sources, tensors={role: role for role in tensors})
    return Case(f"{kind}-{count}-{data}-{preset}", kind, data, preset, card, part, tensors)


def distilled_card(kind: str, classes: tuple[str, ...], shape: tuple[int, int, int]) -> Card:
    """A card with everything that a distilled pack says about itself. Its length counts: do not reword its texts."""
    rng = np.random.default_rng(0)
    digest = lambda: f"sha256:{rng.bytes(32).hex()}"  # noqa: E731
    settings = {
        "steps": 20000,
        "lr_codes": 0.1,
        "lr_decoders": 0.01,
        "batch": 256,
        "network": "convnet3",
        "networks": 20000,
    }
    settings |= {"pretrain": {"steps": 2000, "lr": 0.01}, "seed": 0, "ipc": 10, "preset": "paper", "noise": 0.1}
    return Card(
        title=f"fashion-mnist, {kind}, 10 images per class",
        description="A description of a few words: what this is, and what it is good for.",
        license="MIT",
        credit="Fashion-MNIST, Copyright 2017 Zalando SE (Xiao, Rasul, Vollgraf, arXiv:1708.07747)",
        classes=classes,
        shape=shape,
        space=NormalizedSpace(mean=(0.2860405969887955,) * shape[0], std=(0.35302424451492237,) * shape[0]),
        augmentation=Augmentation(ops=("color", "crop", "cutout", "flip", "scale", "rotate")),
        recipe=Recipe(epochs=300, milestones=(0.5, 0.75)),
        per_class=10 if kind == "generator" else None,
        provenance=Provenance(
            dataset="fashion-mnist",
            dataset_digest=digest(),
            method=f"{kind}, distribution matching",
            settings=settings,
            budget_floats=78400,
            software={"dsetpack": "0.1.0", "torch": "2.13.0"},
        ),
        metrics=(
            Metric(value=0.8412, std=0.0031, seeds=5, arch="convnet3", test_data="fashion-mnist", test_digest=digest()),
        ),
    )

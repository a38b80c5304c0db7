"""The packs of ``measure/engines.py``: every decoder kind in every form that its graph can take, in every encoding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dsetpack import Card, Pack, Part, Zca, decoders, order
from dsetpack.formats.card import Labels, NormalizedSpace, SpaceModel

Shape = tuple[int, int, int]
Arrays = dict[str, np.ndarray]
ENCODINGS = ("exact", "f16", "int8", "int4")
BATCHES = (1, 2, 7, 300)
OUTSIDE = "outside"
"""The name of the batch with numbers that do not exist."""
SOURCES, SEED, EPOCH = 11, 5, 2
CLASSES = ("a", "b", "c")
LISTS = ((2, 0), (1, 2), (0, 1))
"""Two of three decoders for each class."""
SPACE = NormalizedSpace(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
COLOUR: Shape = (3, 8, 8)
KFS = {"decoders": 3, "channels": [4, 3]}


@dataclass(frozen=True)
class Case:
    """A pack of one part.

    Attributes:
        group: the column of the table.
        kind, config, shape: the decoder kind, its settings, and the shape of an image.
        lists: the decoders of each class, if not all.
        soft, zca: whether labels are soft, and whether the pack's space is an embedded ZCA.
    """

    group: str
    kind: str
    config: dict[str, Any]
    shape: Shape = COLOUR
    lists: tuple[tuple[int, ...], ...] | None = None
    soft: bool = False
    zca: bool = False


PLAIN, DRAWN, ONE, SEVERAL, PARTS = "images, upsample", "generator", "one network", "several networks", "several parts"
GROUPS = (PLAIN, DRAWN, ONE, SEVERAL, PARTS)
"""What a graph has to do: nothing but choose, make images from noise, run one network, choose networks, or parts."""
CASES = {
    "images": Case(PLAIN, "images", {}, (3, 6, 5)),
    "images, soft labels": Case(PLAIN, "images", {}, soft=True),
    "upsample 2, ZCA": Case(PLAIN, "upsample", {"factor": 2}, zca=True),
    "upsample 3, padded": Case(PLAIN, "upsample", {"factor": 3}, (3, 8, 10)),
    "generator 14": Case(DRAWN, "generator", {"width": 4, "noise": 9}, (3, 14, 14)),
    "generator 32": Case(DRAWN, "generator", {"width": 4, "noise": 6}, (3, 32, 32)),
    "haba depth 0": Case(ONE, "haba", {"decoders": 3, "depth": 0}),
    "haba shared": Case(ONE, "haba", {"decoders": 3, "shared": True}),
    "kfs one decoder": Case(ONE, "kfs", {"decoders": 1, "channels": [4, 3]}),
    "kfs": Case(SEVERAL, "kfs", KFS | {"channels": [4, 3, 2]}, (3, 13, 18)),
    "kfs kernel 4": Case(SEVERAL, "kfs", KFS | {"kernel": 4}, (3, 9, 7)),
    "kfs, lists": Case(SEVERAL, "kfs", KFS, lists=LISTS),
    "haba": Case(SEVERAL, "haba", {"decoders": 3}),
    "haba depth 2": Case(SEVERAL, "haba", {"decoders": 2, "depth": 2, "channels": 2}, (3, 9, 7)),
    "haba released": Case(SEVERAL, "haba", {"decoders": 2, "form": "released", "channels": 4}, (3, 9, 7)),
    "haba factor 2": Case(SEVERAL, "haba", {"decoders": 2, "factor": 2}),
}
MIXED = ("images", "generator 14", "kfs, lists", "upsample 3, padded", "haba factor 2")
"""The cases that are the parts of the case "parts"; the third is there once more, with the same bank."""
NAMES = (*CASES, "parts")
QUICK = ("images", "generator 14", "haba shared", "kfs", "parts")
"""One case of each group."""


def group(name: str) -> str:
    """The group of a case."""
    return CASES[name].group if name in CASES else PARTS


def pack(name: str) -> Pack:
    """The pack of a case, with random tensors."""
    torch.manual_seed(NAMES.index(name))
    if name not in CASES:
        parts = [_part(CASES[part], COLOUR) for part in MIXED]
        return Pack(_card(name, COLOUR), [*parts, _part(CASES[MIXED[2]], COLOUR, like=parts[2])])
    case = CASES[name]
    zca = Zca.fit(torch.rand(40, *case.shape)) if case.zca else None
    card = _card(name, case.shape, case.soft, SPACE if zca is None else zca.model)
    return Pack(card, [_part(case, case.shape)], zca)


def batches(made: Pack) -> Iterator[tuple[str, Arrays]]:
    """The batches of a pack: inputs of its model, and the images and labels that torch makes of them.

    Each has ``index`` and, if a part is drawn, ``noise``; ``image`` float32 and ``label``. The last batch has numbers
    that do not exist, and what the nearest numbers that exist give.
    """
    images, labels = (values.numpy() for values in made.decode(np.arange(len(made)), seed=SEED, epoch=EPOCH))
    sizes = [part.config.source_shape(made.card.shape)[0] for part in made.parts if part.sources is None]
    noise = order.philox.noise(SEED, EPOCH, np.arange(len(made)), max(sizes)) if sizes else None
    asked = {str(size): np.random.default_rng(size).integers(0, len(made), size) for size in BATCHES}
    for name, index in (asked | {OUTSIDE: np.array([0, -1, len(made), 2**40])}).items():
        near = index.clip(0, len(made) - 1)
        drawn = {} if noise is None else {"noise": noise[near]}
        yield name, {"index": index, **drawn, "image": images[near], "label": labels[near]}


def _card(name: str, shape: Shape, soft: bool = False, space: SpaceModel = SPACE) -> Card:
    labels = Labels(kind="soft" if soft else "hard")
    return Card(title=name, classes=CLASSES, shape=shape, per_class=4, space=space, labels=labels)


def _part(case: Case, shape: Shape, like: Part | None = None) -> Part:
    """A part of random values, with a bank of its own or that of another part."""
    bank = decoders.decoder(case.kind, case.config, shape, len(CLASSES)) if like is None else like.decoder
    bank = bank.requires_grad_(False)
    for role, values in bank.state_dict().items() if like is None else ():
        values.normal_().mul_(0.5)
        if role.endswith("running_var"):
            values.abs_().add_(0.5)
    if not bank.config.has_sources:
        return Part(case.kind, bank.config, bank, None, torch.arange(len(CLASSES)).repeat_interleave(4))
    labels = torch.randn(SOURCES, len(CLASSES)) if case.soft else torch.arange(SOURCES) * 7 % len(CLASSES)
    sources = torch.randn(SOURCES, *bank.source_shape) / 2
    return Part(case.kind, bank.config, bank, sources, labels, class_decoders=case.lists)

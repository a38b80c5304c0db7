"""The packs of ``measure/engines.py``: every decoder kind, small, in every encoding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.cases.engine_outcomes import OUTSIDE
from dsetpack import Card, Pack, Part, Zca, decoders, order
from dsetpack.formats.card import Labels, NormalizedSpace

Shape = tuple[int, int, int]
Arrays = dict[str, np.ndarray]
ENCODINGS = ("exact", "f16", "int8", "int4")
BATCHES = (1, 2, 7, 300)
SOURCES, SEED, EPOCH = 11, 5, 2
CLASSES = ("a", "b", "c")
LISTS = ((2, 0), (1, 2), (0, 1))
"""Two of three decoders for each class."""
SPACE = NormalizedSpace(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
COLOUR: Shape = (3, 8, 8)


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


PLAIN, DRAWN, ONE, SEVERAL = "images, upsample", "generator", "one network", "several networks"
GROUPS = (PLAIN, DRAWN, ONE, SEVERAL)
"""What a graph has to do: nothing but choose, make images from noise, run one network, or choose networks."""
CASES = {
    "images, soft labels": Case(PLAIN, "images", {}, (3, 6, 5), soft=True),
    "upsample, ZCA": Case(PLAIN, "upsample", {"factor": 2}, zca=True),
    "generator": Case(DRAWN, "generator", {"width": 4, "noise": 9}, (3, 14, 14)),
    "haba, shared": Case(ONE, "haba", {"decoders": 3, "shared": True}),
    "haba": Case(SEVERAL, "haba", {"decoders": 3}),
    "kfs, lists": Case(SEVERAL, "kfs", {"decoders": 3, "channels": [4, 3]}, (3, 9, 7), lists=LISTS),
}


def pack(name: str) -> Pack:
    """The pack of a case, with random tensors."""
    case = CASES[name]
    torch.manual_seed(list(CASES).index(name))
    zca = Zca.fit(torch.rand(40, *case.shape)) if case.zca else None
    labels = Labels(kind="soft" if case.soft else "hard")
    space = SPACE if zca is None else zca.model
    card = Card(title=name, classes=CLASSES, shape=case.shape, per_class=4, space=space, labels=labels)
    return Pack(card, [_part(case)], zca)


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


def _part(case: Case) -> Part:
    """A part of random values."""
    bank = decoders.decoder(case.kind, case.config, case.shape, len(CLASSES)).requires_grad_(False)
    for role, values in bank.state_dict().items():
        values.normal_().mul_(0.5)
        if role.endswith("running_var"):
            values.abs_().add_(0.5)
    if not bank.config.has_sources:
        return Part(case.kind, bank.config, bank, None, torch.arange(len(CLASSES)).repeat_interleave(4))
    labels = torch.randn(SOURCES, len(CLASSES)) if case.soft else torch.arange(SOURCES) * 7 % len(CLASSES)
    sources = torch.randn(SOURCES, *bank.source_shape) / 2
    return Part(case.kind, bank.config, bank, sources, labels, class_decoders=case.lists)

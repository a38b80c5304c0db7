"""Packs for the tests of the page: every shape it has to show, and a card that attacks it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dsetpack import Card, Labels, Metric, NormalizedSpace, Pack, Part, Provenance, Recipe
from dsetpack.decoders import decoder
from dsetpack.formats.kinds import kind_config

EVIL = '</title></style><script>window.hacked=1</script><img src=x onerror="window.hacked=1">\' & $title {{x}}'
SHAPE = (3, 16, 12)


def part(
    kind: str, config: dict[str, Any], count: int, shape: tuple[int, int, int] = SHAPE, classes: int = 3, **more: Any
) -> Part:
    """A part with random sources and the labels 0, 1, 2, 0, ...; a generator makes ``count`` images per class."""
    made = kind_config(kind).model_validate(config)
    bank = decoder(kind, made, shape, classes).eval()
    sources = torch.rand(count, *made.source_shape(shape)) if made.has_sources else None
    drawn = torch.arange(classes).repeat_interleave(count)
    labels: Tensor = more.pop("labels", torch.arange(count) % classes if made.has_sources else drawn)
    return Part(kind, made, bank, sources, labels, **more)


def evil() -> bytes:
    """Three kinds, two stages, lists of decoders, and markup in every text of the card."""
    torch.manual_seed(0)
    card = Card(
        title=EVIL,
        description=f"{EVIL}\n\n\u202esecond\x1b[31m paragraph",
        license=EVIL,
        credit=EVIL,
        classes=tuple(f"{EVIL}{n}" for n in range(3)),
        shape=SHAPE,
        recipe=Recipe(epochs=3, arch=EVIL),
        provenance=Provenance(dataset=EVIL, method=EVIL, settings={EVIL: {EVIL: [EVIL]}}, software={EVIL: EVIL}),
        metrics=(Metric(name=EVIL, value=0.5, std=0.01, arch=EVIL, test_data=EVIL, note=EVIL, protocol=EVIL),),
        extra={EVIL: EVIL, "many": list(range(100)), "url": "https://example.org/x.js"},
    )
    lists = ((0, 1), (1, 2), (2, 0))
    parts = [
        part("haba", {"decoders": 14}, 7, name=EVIL),
        part("kfs", {"decoders": 3, "channels": [5, 2]}, 5, stage=1, class_decoders=lists),
        part("upsample", {"factor": 2}, 4, stage=1),
    ]
    return Pack(card, parts).to_bytes("int8")


def generator(per_class: int | None = 4) -> bytes:
    """Images from a generator; without ``per_class`` the card does not say how many."""
    torch.manual_seed(0)
    card = Card(title="drawn", classes=("a", "b", "c"), shape=(1, 28, 28), per_class=per_class)
    return Pack(card, [part("generator", {"width": 4}, per_class or 1, (1, 28, 28))]).to_bytes()


def large() -> bytes:
    """Images that the page shrinks, soft labels, five channels, and another space."""
    torch.manual_seed(0)
    space = NormalizedSpace(mean=(0.5,) * 5, std=(0.25,) * 5)
    card = Card(title="large", classes=("a", "b"), shape=(5, 300, 200), labels=Labels(kind="soft"), space=space)
    labels = torch.tensor([[0.9, 0.1], [0.25, 0.75], [0.5, 0.5]])
    return Pack(card, [part("images", {}, 3, (5, 300, 200), 2, labels=labels)]).to_bytes("int8")


def plain() -> bytes:
    """Three pages of plain images, in order of class."""
    torch.manual_seed(0)
    classes = [f"class {n}" for n in range(10)]
    return Pack.from_arrays(torch.rand(450, 3, 8, 8), torch.arange(450) // 45, classes=classes).to_bytes("int8")

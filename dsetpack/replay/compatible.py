"""Checks that a pack fits a memory, and the pack's conversion to the memory's pixel space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import torch

from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import kind_config
from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.formats.model import printable
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.spaces import Normalized, Raw, Space, same_space

BATCH = 1024
"""Images converted at a time."""


def check_classes(found: Sequence[str], expected: Sequence[str] | None) -> None:
    """Check that the classes are the expected ones; None accepts any.

    Raises:
        FormatError: if they differ.
    """
    if expected is not None and tuple(found) != tuple(expected):
        raise FormatError(
            printable(
                f"the pack has the classes {_few(found)}, the memory {_few(expected)}: a label is an index into one "
                "list that all tasks share; make each pack with the whole list, and with sources of some classes"
            )
        )


def check_stored(kinds: Iterable[str]) -> None:
    """Check that all parts store their sources: a part that draws its images has no sources that could be dropped.

    Raises:
        FormatError: if a part's kind draws its images.
    """
    for number, kind in enumerate(kinds):
        if not kind_config(kind).has_sources:
            raise FormatError(
                f"part {number} is a {kind}, which draws its images: a memory drops sources, and it has none to "
                "drop; keep it as a file of its own, or add images that it made by add_arrays"
            )


def with_sources(pack: Pack) -> Pack:
    """Copy the pack to the CPU without its empty parts.

    Raises:
        FormatError: if nothing is left, or if a part draws its images.
    """
    check_stored(part.kind for part in pack.parts)
    kept = [part for part in pack.to("cpu").parts if len(part)]
    if not kept:
        raise FormatError("the pack has no sources; at least one is expected")
    return Pack(pack.card, kept, pack.space.to("cpu"))


def check_alike(pack: Pack, card: Card) -> None:
    """Check that a pack's images and labels are like those of a memory with this card.

    Raises:
        FormatError: if the image shape or the kind of labels differs, or if only the memory promises finite values.
    """
    if pack.card.shape != card.shape:
        raise FormatError(f"the pack has images of {list(pack.card.shape)}, the memory of {list(card.shape)}")
    if pack.card.labels != card.labels:
        raise FormatError(f"the pack has {_labels(pack.card)} labels, the memory {_labels(card)} ones")
    if card.finite and not pack.card.finite:
        raise FormatError(
            "the pack's card says that values may be NaN or infinite (finite=False), the memory's promises finite ones"
        )


def epoch_rule(parts: Sequence[Part], rule: Rule, more: Sequence[Part], other: Rule) -> Rule:
    """The epoch rule of ``parts`` and ``more`` together: the rule of those whose sources make several images each.

    Raises:
        FormatError: if sources of both make several images each, and their rules differ.
    """
    several = [any(part.slots > 1 for part in some) for some in (parts, more)]
    if all(several) and rule != other:
        raise FormatError(
            f"the pack's epochs are {other}, the memory's {rule}: sources of both make several images each, and one "
            "memory has one rule; keep them in two memories"
        )
    return rule if several[0] or not several[1] else other


Rule = Literal["paired", "product"]


def in_space(pack: Pack, space: Space) -> Pack:
    """Convert the pack to another pixel space, with the same raw images.

    Parts of kind ``images`` are converted. So are parts of kind ``upsample``, if both spaces only shift and scale
    channels and no patch is padded. Decoders that make raw images stay as they are.

    Raises:
        FormatError: if the decoders of a part work in the pack's own space and cannot be converted.
    """
    if same_space(pack.card.space, space.model):
        return pack if pack.card.space == space.model else Pack(_moved(pack, space), pack.parts, space)
    parts = [_converted(number, part, pack, space) for number, part in enumerate(pack.parts)]
    return Pack(_moved(pack, space), parts, space)


def _moved(pack: Pack, space: Space) -> Card:
    return pack.card.replace(space=space.model)


def _converted(number: int, part: Part, pack: Pack, space: Space) -> Part:
    if part.config.yields == "raw":
        return part
    if part.sources is None or not (part.kind == "images" or _commutes(part, pack, space)):
        raise FormatError(
            f"part {number}, {part.kind}, makes images in the space {pack.space!r}, the memory's is {space!r}: its "
            "decoders cannot be converted; distill in the memory's space, or begin the memory with this pack"
        )
    with torch.no_grad():
        batches = [space.apply(pack.space.invert(x)) for x in torch.split(part.sources, BATCH)]
    return replace(part, sources=torch.cat(batches))


def _commutes(part: Part, pack: Pack, space: Space) -> bool:
    """Whether enlarging small images and changing the space commute."""
    config, (_, height, width) = part.config, pack.card.shape
    if not isinstance(config, UpsampleConfig) or height % config.factor or width % config.factor:
        return False
    return all(isinstance(one, Raw | Normalized) for one in (pack.space, space))


def _labels(card: Card) -> str:
    return f"{card.labels.kind}{', centred' if card.labels.centred else ''}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f", ... ({len(names)})" if len(names) > 5 else "")

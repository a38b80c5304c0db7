"""The contents of a pack besides its card: parts and pixel space, checked against the card before a pack takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part
from dsetpack.spaces import Space


class PackContents(Protocol):
    """Parts and space, in memory or still in a file."""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The number of sources and of slots of each part, without reading anything."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts."""

    @property
    def space(self) -> Space:
        """The pixel space of decoded images."""

    @property
    def labels(self) -> Tensor:
        """The label of every pair, without reading images: int64 [len], or float32 [len, classes]."""


@dataclass(frozen=True, eq=False)
class MemoryContents:
    """Contents in memory."""

    parts: tuple[Part, ...]
    space: Space

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The number of sources and of slots of each part."""
        return [(len(part), part.slots) for part in self.parts]

    @property
    def labels(self) -> Tensor:
        """The label of every pair: int64 [len], or float32 [len, classes]."""
        return torch.cat([part.labels.repeat_interleave(part.slots, 0) for part in self.parts])


def check_fits_card(contents: MemoryContents, card: Card) -> None:
    """Check that parts and space fit the card.

    Raises:
        FormatError: if there are no parts, or if a part or the space does not fit the card.
    """
    if contents.space.model != card.space:
        raise FormatError(f"the card's space is another than {contents.space!r}: make the card with space=space.model")
    if not contents.parts:
        raise FormatError("a pack needs at least one part")
    for number, part in enumerate(contents.parts):
        _check_labels(number, part, card)
        _check_images(number, part, card)


def _check_labels(number: int, part: Part, card: Card) -> None:
    classes, hard = len(card.classes), card.labels.kind == "hard"
    if hard != (part.labels.ndim == 1):
        raise FormatError(f"part {number}: labels of shape {list(part.labels.shape)}, the card says {card.labels.kind}")
    if not hard and part.labels.shape[1] != classes:
        raise FormatError(
            f"part {number}: {plural(part.labels.shape[1], 'label column')} for {plural(classes, 'class')}"
        )
    if hard and len(part.labels) and not 0 <= int(part.labels.min()) <= int(part.labels.max()) < classes:
        raise FormatError(
            f"part {number}: labels {part.labels.min()}..{part.labels.max()} for {plural(classes, 'class')}"
        )


def _check_images(number: int, part: Part, card: Card) -> None:
    if part.sources is not None:
        found, expected = tuple(part.sources.shape[1:]), part.config.source_shape(card.shape)
        if found != expected:
            raise FormatError(f"part {number}: sources of shape {list(found)}, {list(expected)} expected")
    made = (tuple(part.decoder.image), part.decoder.classes)
    if made != (card.shape, len(card.classes)):
        given, wanted = (
            f"images {list(image)} of {plural(count, 'class')}"
            for image, count in (made, (card.shape, len(card.classes)))
        )
        raise FormatError(f"part {number}: its decoders make {given}; {wanted} expected")

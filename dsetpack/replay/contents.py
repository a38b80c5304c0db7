"""``Contents``: all that a memory holds, as an immutable value: tasks, their parts, and the file of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dsetpack.decoders import Decoder
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError
from dsetpack.formats.presets import EncodingChoice, Preset
from dsetpack.formats.reuse import Reuse
from dsetpack.formats.words import plural
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.replay.budget import File, file_of
from dsetpack.replay.shrink import Balance, Group, shrink
from dsetpack.spaces import Space

AIM, USED = 0.997, 0.994
"""Shares of the budget: where dropping aims at first, and from where on the budget counts as used. Each try encodes all
that lost sources, and what is left takes a little more than expected more often than less."""
ROUNDING = 2e-6
"""A tolerance, as a share of a decoder's largest value; see ``same_bank``."""


@dataclass(frozen=True)
class Stage:
    """One task: its name and its parts."""

    task: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Contents:
    """All that a memory holds.

    Attributes:
        card: the card of the pack that all stages make together.
        space: the pixel space of that pack.
        stages: one per task; the parts of task n have stage n.
        file: the file of that pack, if it was made; see ``written``.
        reuse: what was computed for the file, or for the files of what these contents were made from.
    """

    card: Card
    space: Space
    stages: tuple[Stage, ...]
    file: File | None = None
    reuse: Reuse = field(default_factory=Reuse)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts in the order of the file."""
        return tuple(part for stage in self.stages for part in stage.parts)

    @property
    def sources(self) -> int:
        """The number of sources."""
        return sum(len(part) for part in self.parts)

    @property
    def made(self) -> File:
        """The file, which must have been made."""
        assert self.file is not None
        return self.file

    @property
    def bytes(self) -> int:
        """The bytes of the file."""
        return len(self.made)

    def pack(self) -> Pack:
        """All contents as one pack."""
        return Pack(self.card, self.parts, self.space)

    def without(self, task: str) -> Contents | None:
        """The same contents without a task; None if it is the only task."""
        gone = next(number for number, stage in enumerate(self.stages) if stage.task == task)
        left = [*self.stages[:gone], *self.stages[gone + 1 :]]
        stages = tuple(
            replace(stage, parts=tuple(replace(part, stage=number) for part in stage.parts))
            for number, stage in enumerate(left)
        )
        card = _without_record(self.card, gone, len(self.stages))
        return replace(self, card=card, stages=stages, file=None) if stages else None

    def written(self, encoding: EncodingChoice) -> Contents:
        """The same contents with their file; what earlier files had is not encoded again."""
        reuse = Reuse(self.reuse)
        return replace(self, file=file_of(self.pack(), encoding, reuse), reuse=reuse)

    def within(self, limit: int, balance: Balance, encoding: EncodingChoice) -> Contents:
        """Drop sources, as ``shrink`` chooses them, until the file takes at most ``limit`` bytes.

        Returns:
            what is left, with its file.

        Raises:
            FormatError: if one source of each class of each task takes more.
        """
        whole = self if self.file is not None else self.written(encoding)
        if whole.bytes <= limit:
            return whole
        first = whole._reduced(whole.made, limit, balance, encoding)
        if first.bytes >= USED * limit - max(first.made.each):
            return first
        again = replace(whole, reuse=Reuse(whole.reuse, first.reuse))
        second = again._reduced(first.made, limit, balance, encoding)  # what is left is a better guide than the whole
        return max(first, second, key=lambda contents: contents.bytes)

    def _reduced(self, guide: File, limit: int, balance: Balance, encoding: EncodingChoice) -> Contents:
        """Drop sources by what they take in some file of them, and more by the file of what is left, until it fits."""
        kept, aim = self, AIM * limit
        while True:
            left = kept._shrunk(guide.each, aim - guide.rest, balance)
            if left.sources == kept.sources and kept is not self:
                raise FormatError(
                    f"a budget of {limit:,} bytes does not hold one source of each class of each task: that takes "
                    f"{kept.bytes:,} bytes, of which {guide.rest:,} are decoders and the file's structure; raise the "
                    "budget, remove a task, or choose a smaller encoding or smaller sources"
                )
            kept = left.written(encoding)
            if kept.bytes <= limit:
                return kept
            guide, aim = kept.made, limit

    def at_most(self, images: int, balance: Balance) -> Contents:
        """Drop sources until at most ``images`` images can be decoded.

        Raises:
            FormatError: if one source of each class of each task makes more.
        """
        if sum(len(part) * part.slots for part in self.parts) <= images:
            return self
        kept = self._shrunk([part.slots for part in self.parts], images, balance)
        if (found := sum(len(part) * part.slots for part in kept.parts)) > images:
            raise FormatError(
                f"{plural(images, 'image')} cannot hold one source of each class of each task, which make {found}; ask "
                "for more, or remove a task"
            )
        return kept

    def _shrunk(self, costs: Sequence[float], limit: float, balance: Balance) -> Contents:
        groups, members = list[Group](), list[Tensor]()
        for part, cost in zip(self.parts, costs, strict=True):
            for label, places in by_class(part).items():
                groups.append(Group(part.stage, label, len(places), _values(part), cost))
                members.append(places)
        counts = shrink(groups, balance, limit)
        kept = iter([places[:count] for places, count in zip(members, counts, strict=True)])
        stages = tuple(
            replace(stage, parts=tuple(_take(part, [next(kept) for _ in by_class(part)]) for part in stage.parts))
            for stage in self.stages
        )
        return replace(self, stages=stages, file=None)


def _take(part: Part, places: Sequence[Tensor]) -> Part:
    """Keep only the sources at some places, in their order."""
    chosen = torch.cat(list(places)).sort().values
    return part if len(chosen) == len(part) else part.take(chosen)


def _values(part: Part) -> int:
    assert part.sources is not None
    return part.sources[0].numel()


def _without_record(card: Card, number: int, stages: int) -> Card:
    """The card without its record of one distilled stage, if it has one record per stage."""
    settings = dict(card.provenance.settings)
    records = settings.get("stages")
    if not isinstance(records, list) or len(records) != stages:
        return card
    settings["stages"] = [*records[:number], *records[number + 1 :]]
    return card.replace(provenance=card.provenance.model_copy(update={"settings": settings}))


def by_class(part: Part) -> dict[int, Tensor]:
    """The places of the sources of each class, int64, in order."""
    labels = hard(part)
    return {label: torch.nonzero(labels == label)[:, 0] for label in sorted(set(labels.tolist()))}


def hard(part: Part) -> Tensor:
    """The class of each source, int64 [N]; the largest entry of a soft label."""
    return part.labels if part.labels.ndim == 1 else part.labels.argmax(1)


def same_bank(one: Decoder, other: Decoder, encoding: Preset) -> bool:
    """Whether two banks, both as their files hold them, have equal settings and equal values.

    Each time an int8 or int4 tensor is encoded again, its scales are rounded again (measured: by 2e-7 of the largest
    value). So such values count as equal if they differ at most by a small part of an 8-bit step of their decoder plus
    ``ROUNDING`` times its largest value.
    """
    if (type(one), one.config, one.image, one.classes) != (type(other), other.config, other.image, other.classes):
        return False
    mine, others = one.state_dict(), other.state_dict()
    if mine.keys() != others.keys() or any(mine[name].shape != others[name].shape for name in mine):
        return False
    coded = encoding in ("int8", "int4")
    return all(_same_bits(mine[name], others[name]) or (coded and _close(mine[name], others[name])) for name in mine)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes()


def _close(one: Tensor, other: Tensor) -> bool:
    if one.ndim < 2:  # such small tensors are not stored as codes
        return False
    each, others = one.flatten(1), other.flatten(1)  # [decoders, values]: each decoder has its own scales
    span = others.max(1).values - others.min(1).values
    allowed = span / 255 / 50 + ROUNDING * others.abs().max(1).values
    return bool(((each - others).abs().max(1).values <= allowed).all())

"""Adding a pack to a memory as a stage: with values as the file will hold them, sharing decoders the memory has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dsetpack.decoders import Decoder
from dsetpack.formats.card import Card
from dsetpack.formats.presets import Preset
from dsetpack.formats.reuse import Reuse
from dsetpack.pack.combine import unmeasured
from dsetpack.pack.opened import open_pack
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.replay import compatible
from dsetpack.replay.budget import distinct, file_of
from dsetpack.replay.contents import Contents, Stage, same_bank


def appended(before: Contents | None, pack: Pack, task: str, encoding: Preset, card_of_all: bool) -> Contents:
    """Add a pack as one more stage; its values go through the encoding. The result has no file yet.

    Args:
        before: the contents so far, which stay as they are; None for an empty memory.
        pack: a pack with the memory's classes and pixel space, on the CPU, whose parts all have sources.
        task: the name of the task.
        encoding: the encoding that the pack's values go through.
        card_of_all: the pack's card describes all contents, not just this stage.

    Raises:
        FormatError: if the pack's images, labels or epoch rule do not fit the contents so far.
    """
    if before is not None:
        compatible.check_alike(pack, before.card)
    reuse = Reuse()
    stored = open_pack(file_of(pack, encoding, reuse).data)
    banks = _banks(pack, stored, distinct(before.parts) if before else [], encoding)
    number = len(before.stages) if before else 0
    parts = tuple(
        replace(kept, decoder=banks[id(part.decoder)], stage=number)
        for part, kept in zip(pack.parts, stored.parts, strict=True)
    )
    stage = Stage(task, parts)
    if before is None:
        return Contents(unmeasured(pack.card), stored.space, (stage,), reuse=reuse)
    card = _card(before, pack, pack.card if card_of_all else before.card)
    return Contents(card, before.space, (*before.stages, stage), reuse=Reuse(before.reuse, reuse))


def reopened(pack: Pack, tasks: Sequence[str]) -> Contents:
    """The contents of a file's pack: one task for each stage among its parts."""
    order = sorted({part.stage for part in pack.parts})
    found: list[list[Part]] = [[] for _ in order]
    for part in pack.parts:
        number = order.index(part.stage)
        found[number].append(replace(part, stage=number))
    stages = tuple(Stage(task, tuple(parts)) for task, parts in zip(tasks, found, strict=True))
    return Contents(unmeasured(pack.card), pack.space, stages)


def _banks(pack: Pack, stored: Pack, held: Sequence[Decoder], encoding: Preset) -> dict[int, Decoder]:
    """The memory's decoder for each decoder of a pack, by the latter's ``id``: one that is held, or a new one."""
    found: dict[int, Decoder] = {}
    for part, kept in zip(pack.parts, stored.parts, strict=True):
        if id(part.decoder) not in found:
            known = [*held, *found.values()]
            found[id(part.decoder)] = next((d for d in known if same_bank(kept.decoder, d, encoding)), kept.decoder)
    return found


def _card(before: Contents, pack: Pack, card: Card) -> Card:
    """The card with one more stage; recipe and augmentation may come from the new stage if there are none so far."""
    return unmeasured(card).replace(
        epoch_rule=compatible.epoch_rule(before.parts, before.card.epoch_rule, pack.parts, pack.card.epoch_rule),
        recipe=card.recipe or pack.card.recipe,
        augmentation=card.augmentation if card.recipe else pack.card.augmentation,
        extra=before.card.extra,
    )

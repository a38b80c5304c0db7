"""Adding a pack to a memory as a stage: with values as the file will hold them, sharing decoders the memory has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dsetpack.decoders import Decoder
from dsetpack.formats.card import Card
from dsetpack.formats.presets import Preset
from dsetpack.pack.combine import unmeasured
from dsetpack.pack.opened import open_pack
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.replay import compatible
from dsetpack.replay.budget import Size, distinct, measure
from dsetpack.replay.contents import Bank, Contents, Stage, same_bank


def appended(before: Contents | None, pack: Pack, task: str, encoding: Preset, card_of_all: bool) -> Contents:
    """Add a pack as one more stage. Only this pack is encoded; ``fixed`` must be counted afterwards.

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
    data = pack.to_bytes(encoding)
    stored, sizes = open_pack(data), measure(pack, data)
    held = list(before.banks) if before else []
    banks = _banks(pack, stored, sizes.banks, held, encoding)
    number = len(before.stages) if before else 0
    parts = tuple(
        replace(kept, decoder=banks[id(part.decoder)], stage=number)
        for part, kept in zip(pack.parts, stored.parts, strict=True)
    )
    stage = Stage(task, parts, sizes.parts)
    if before is None:
        return Contents(unmeasured(pack.card), stored.space, sizes.space, (stage,), tuple(held))
    card = _card(before, pack, pack.card if card_of_all else before.card)
    return replace(before, card=card, stages=(*before.stages, stage), banks=tuple(held))


def reopened(pack: Pack, data: bytes, tasks: Sequence[str]) -> Contents:
    """The contents of a file: one task for each stage among the parts of its pack."""
    sizes = measure(pack, data)
    order = sorted({part.stage for part in pack.parts})
    found: list[tuple[list[Part], list[Size]]] = [([], []) for _ in order]
    for part, size in zip(pack.parts, sizes.parts, strict=True):
        number = order.index(part.stage)
        found[number][0].append(replace(part, stage=number))
        found[number][1].append(size)
    stages = tuple(Stage(task, tuple(parts), tuple(of)) for task, (parts, of) in zip(tasks, found, strict=True))
    banks = tuple(Bank(bank, stored) for bank, stored in zip(distinct(pack.parts), sizes.banks, strict=True))
    fixed = len(data) - sum(size.stored for size in sizes.parts)
    return Contents(unmeasured(pack.card), pack.space, sizes.space, stages, banks, fixed)


def _banks(pack: Pack, stored: Pack, sizes: Sequence[int], held: list[Bank], encoding: Preset) -> dict[int, Decoder]:
    """The memory's decoder for each decoder of a pack, by the latter's ``id``; new ones are added to ``held``."""
    size = {id(bank): stored for bank, stored in zip(distinct(pack.parts), sizes, strict=True)}
    found: dict[int, Decoder] = {}
    for part, kept in zip(pack.parts, stored.parts, strict=True):
        if id(part.decoder) in found:
            continue
        known = next((bank for bank in held if same_bank(kept.decoder, bank.decoder, encoding)), None)
        if known is None:
            known = Bank(kept.decoder, size[id(part.decoder)])
            held.append(known)
        found[id(part.decoder)] = known.decoder
    return found


def _card(before: Contents, pack: Pack, card: Card) -> Card:
    """The card with one more stage; recipe and augmentation may come from the new stage if there are none so far."""
    return unmeasured(card).replace(
        epoch_rule=compatible.epoch_rule(before.parts, before.card.epoch_rule, pack.parts, pack.card.epoch_rule),
        recipe=card.recipe or pack.card.recipe,
        augmentation=card.augmentation if card.recipe else pack.card.augmentation,
        extra=before.card.extra,
    )

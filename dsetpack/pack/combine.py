"""The contents of packs made from other packs: a selection of one, or several merged into one."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import printable
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part

Which = SupportsIndex | str
ALIKE = ("shape", "classes", "space", "labels", "epoch_rule", "per_class")
"""The card fields that must be equal in packs that are merged."""


def select(
    card: Card,
    parts: Sequence[Part],
    classes: Which | Iterable[Which] | None,
    part_ids: Which | Iterable[Which] | None,
) -> tuple[Card, list[Part]]:
    """Make the card and parts of a selection; see ``Pack.select``."""
    kept = list(parts)
    if part_ids is not None:
        kept = [part for which in _listed(part_ids, "parts") for part in _parts(parts, which)]
    if classes is not None:
        numbers = [_class(card, which) for which in _listed(classes, "classes")]
        kept = [part.by_class(numbers) for part in kept]
    kept = [part for part in kept if len(part)]
    if not kept:
        raise FormatError(f"nothing is left: no sources of classes {classes!r} in parts {part_ids!r}")
    return unmeasured(card, None if card.provenance.budget_floats is None else floats(kept)), kept


def merged_card(cards: Sequence[Card], changes: dict[str, Any]) -> Card:
    """The card of packs with these cards as one pack, without a budget; see ``Pack.merge``.

    Raises:
        FormatError: if there are no cards, if cards differ in what a pack has once, or if a change does not fit.
    """
    if not cards:
        raise FormatError("nothing to merge: at least one pack expected")
    for number, card in enumerate(cards):
        for name in ALIKE:
            found, expected = getattr(card, name), getattr(cards[0], name)
            if name not in changes and found != expected:
                what = f"{found!r} found, {expected!r} expected as in pack 0"
                raise FormatError(f"pack {number} differs in {name}: {printable(what)}")
    with at("card"):
        return unmeasured(cards[0]).replace(**changes)


def merged_parts(packs: Iterable[Sequence[Part]]) -> list[Part]:
    """The parts of several packs, all on one device, one after another; the stages of a pack follow those before it."""
    parts, stage = list[Part](), 0
    for theirs in packs:
        parts += [replace(part, stage=stage + part.stage) for part in theirs]
        stage = 1 + max(part.stage for part in parts)
    return parts


def unmeasured(card: Card, budget_floats: int | None = None) -> Card:
    """The card of other contents: without metrics, and with another budget."""
    return card.replace(metrics=(), provenance=card.provenance.model_copy(update={"budget_floats": budget_floats}))


def floats(parts: Iterable[Part]) -> int:
    """The number of floats of the sources and decoders of parts: a budget as papers count it, without labels.

    Decoders that several parts share count once.
    """
    kept = list(parts)
    banks = {id(part.decoder): part.decoder for part in kept}.values()
    sources = sum(part.sources.numel() for part in kept if part.sources is not None)
    decoders: int = sum(values.numel() for bank in banks for values in bank.state_dict().values())
    return sources + decoders


def _listed(which: Which | Iterable[Which], what: str) -> list[Which]:
    """Make a list from one choice or several."""
    if isinstance(which, str) or not isinstance(which, Iterable) or getattr(which, "ndim", 1) == 0:
        return [which]  # type: ignore[list-item]
    found = list(which)
    if not found:
        raise FormatError(f"{what} is empty; give at least one, or None for all")
    return found


def _index(which: SupportsIndex) -> int:
    """The value as a whole number, or -1 if it is not one."""
    try:
        return operator.index(which)
    except TypeError:
        return -1


def _class(card: Card, which: Which) -> int:
    """The number of a class that is given by number or name."""
    names = card.classes
    if isinstance(which, str):
        if which in names:
            return names.index(which)
    elif 0 <= (number := _index(which)) < len(names):
        return number
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise FormatError(f"no class {which!r}; the pack has {plural(len(names), 'class')}: {shown}")


def _parts(parts: Sequence[Part], which: Which) -> list[Part]:
    """The part with a number, or all parts with a name."""
    if isinstance(which, str):
        if found := [part for part in parts if part.name == which]:
            return found
    elif 0 <= (number := _index(which)) < len(parts):
        return [parts[number]]
    names = sorted({part.name for part in parts if part.name is not None})
    raise FormatError(
        f"no part {which!r}; the pack has {plural(len(parts), 'part')}, named {', '.join(names) or 'nothing'}"
    )

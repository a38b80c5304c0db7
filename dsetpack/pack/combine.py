"""Packs made of packs: some of one, or several as one."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError, checked
from dsetpack.formats.model import printable
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part

Which = SupportsIndex | str
ALIKE = ("shape", "classes", "space", "labels", "epoch_rule", "per_class")
"""What the cards of packs that are merged must agree on."""


def select(pack: Pack, classes: Which | Iterable[Which] | None, parts: Which | Iterable[Which] | None) -> Pack:
    """See ``Pack.select``."""
    chosen: Sequence[Part] = pack.parts
    if parts is not None:
        chosen = [part for which in _listed(parts, "parts") for part in _parts(pack, which)]
    if classes is not None:
        numbers = [_class(pack.card, which) for which in _listed(classes, "classes")]
        chosen = [part.by_class(numbers) for part in chosen]
    chosen = [part for part in chosen if len(part)]
    if not chosen:
        raise FormatError(f"nothing is left: no sources of classes {classes!r} in parts {parts!r}")
    return Pack(unmeasured(pack.card), chosen, pack.space)


def merge(packs: Sequence[Pack], changes: dict[str, Any]) -> Pack:
    """See ``Pack.merge``."""
    if not packs:
        raise FormatError("nothing to merge: at least one pack expected")
    first, parts, stage = packs[0], list[Part](), 0
    for number, pack in enumerate(packs):
        for name in ALIKE:
            found, expected = getattr(pack.card, name), getattr(first.card, name)
            if name not in changes and found != expected:
                what = f"{found!r} found, {expected!r} expected as in pack 0"
                raise FormatError(f"pack {number} differs in {name}: {printable(what)}")
        parts += [replace(part, stage=stage + part.stage) for part in pack.to(first.device).parts]
        stage = 1 + max(part.stage for part in parts)
    with checked("card"):
        card = unmeasured(first.card).replace(**changes)
    return Pack(card, parts, first.space)


def unmeasured(card: Card) -> Card:
    """The card without what was measured and counted on other contents."""
    return card.replace(metrics=(), provenance=card.provenance.model_copy(update={"budget_floats": None}))


def _listed(which: Which | Iterable[Which], what: str) -> list[Which]:
    """One or several as a list."""
    if isinstance(which, str) or not isinstance(which, Iterable) or getattr(which, "ndim", 1) == 0:
        return [which]  # type: ignore[list-item]
    found = list(which)
    if not found:
        raise FormatError(f"{what} is empty; give at least one, or None for all")
    return found


def _index(which: SupportsIndex) -> int:
    """A whole number, or -1 for what is none."""
    try:
        return operator.index(which)
    except TypeError:
        return -1


def _class(card: Card, which: Which) -> int:
    """The number of a class, given by number or name."""
    names = card.classes
    if isinstance(which, str):
        if which in names:
            return names.index(which)
    elif 0 <= (number := _index(which)) < len(names):
        return number
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise FormatError(f"no class {which!r}; there are {len(names)} classes: {shown}")


def _parts(pack: Pack, which: Which) -> list[Part]:
    """The part of a number, or all parts of a name."""
    if isinstance(which, str):
        if found := [part for part in pack.parts if part.name == which]:
            return found
    elif 0 <= (number := _index(which)) < len(pack.parts):
        return [pack.parts[number]]
    names = sorted({part.name for part in pack.parts if part.name is not None})
    raise FormatError(f"no part {which!r}; there are {len(pack.parts)} parts, named {', '.join(names) or 'nothing'}")

"""The notes that a memory keeps in its card's ``extra``: budget, encoding, balance and the names of tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dsetpack.formats.card import Card, Positive
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import Model
from dsetpack.formats.presets import Preset
from dsetpack.formats.words import plural
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.replay.contents import hard

KEY = "replay"
"""The key of the notes in ``card.extra``."""


class Notes(Model):
    """What ``ReplayMemory.open`` needs to know.

    Attributes:
        budget: the budget in bytes.
        encoding, balance: as for ``ReplayMemory``.
        tasks: the name of each stage.
        classes: a digest of the classes of each stage, which shows whether the notes belong to the pack. Shrinking does
            not change it, since it keeps every class of every task.
    """

    budget: Positive
    encoding: Preset = "int8"
    balance: Literal["class", "task"] = "class"
    tasks: tuple[Annotated[str, Field(min_length=1)], ...]
    classes: str | None = None


def write(card: Card, notes: Notes) -> Card:
    """Write the notes into the card."""
    return card.replace(extra={**card.extra, KEY: json.loads(notes.model_dump_json())})


def read(pack: Pack, budget: int | None, encoding: Preset | None) -> Notes:
    """Read the notes in a pack's card; if no memory wrote the pack, tasks are named by their stages.

    Args:
        pack: the pack of the file.
        budget, encoding: used instead of the file's. With a budget, notes that do not match the stages are ignored:
            such notes are left over after a selection or merge of a memory's pack.

    Raises:
        FormatError: if there is no budget, if the notes are damaged, or if they do not match the stages.
    """
    stages = sorted({part.stage for part in pack.parts})
    found = pack.card.extra.get(KEY)
    if found is None and budget is None:
        raise FormatError("no memory wrote this file, so it names no budget: pass budget=")
    values = found if isinstance(found, dict) else {"tasks": [str(stage) for stage in stages]}
    asked = {} if budget is None else {"budget": budget}
    with at(f"card.extra.{KEY}"):
        notes = Notes.model_validate({**values, **asked, **({} if encoding is None else {"encoding": encoding})})
    fits = notes.classes in (None, classes_digest(pack.parts))
    if (count := len(set(notes.tasks))) == len(notes.tasks) == len(stages) and fits:
        return notes
    if budget is not None:
        return notes.model_copy(update={"tasks": tuple(map(str, stages))})
    stale = plural(len(stages), "stage") + (" of other classes" if count == len(stages) else "")
    raise FormatError(
        f"card.extra.{KEY} names {plural(count, 'task')} for {stale}: the pack is no longer what a memory wrote; pass "
        "budget= to open it with tasks that are called by their stages"
    )


def classes_digest(parts: Sequence[Part]) -> str:
    """16 hexadecimal digits over the classes of each stage."""
    found: dict[int, set[int]] = {}
    for part in parts:
        found.setdefault(part.stage, set()).update(hard(part).tolist())
    told = [sorted(found[stage]) for stage in sorted(found)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

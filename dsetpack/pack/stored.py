"""The way from a pack in memory to the contents of its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.formats import PartEntry
from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part, drawn_labels
from dsetpack.spaces import Space, Zca

Arrays = dict[str, NDArray[Any]]


def to_file(card: Card, parts: Sequence[Part], space: Space) -> tuple[Card, list[PartEntry], Arrays]:
    """Make the card, part entries and arrays of a pack's file: the arguments of ``formats.write``.

    Raises:
        FormatError: if a generator's labels cannot be stored in a file.
    """
    # Use our own tensor names: those of another writer may collide with the names of sources.
    if isinstance(space, Zca) and space.tensors():
        space = space.stored("embed")
        card = card.replace(space=space.model)
    tensors: Arrays = {name: _array(t) for name, t in space.tensors().items()}
    entries: list[PartEntry] = []
    banks: dict[int, int] = {}
    several = len(parts) > 1
    for number, part in enumerate(parts):
        prefix = f"part{number}." if several else ""
        bank = banks.setdefault(id(part.decoder), len(banks))
        roles = {role: f"bank{bank if several else ''}.{role}" for role in part.decoder.state_dict()}
        tensors |= {name: _array(part.decoder.state_dict()[role]) for role, name in roles.items()}
        if part.sources is None:
            _check_drawn(number, part, card)
        else:
            roles |= {"sources": f"{prefix}sources", "labels": f"{prefix}labels"}
            tensors[roles["sources"]] = _array(part.sources)
            tensors[roles["labels"]] = _labels(part.labels, len(card.classes))
        entries.append(_entry(part, roles))
    return card, entries, tensors


def _check_drawn(number: int, part: Part, card: Card) -> None:
    """Check a generator's labels: a file can only store how many images there are per class."""
    classes = len(card.classes)
    per_class = card.per_class or max(1, len(part.labels) // classes)
    if not torch.equal(part.labels.cpu(), drawn_labels(card, per_class)):
        raise FormatError(
            f"part {number}: {plural(len(part.labels), 'label')} found; a generator's file can only say 'per_class' "
            f"images of each class in turn, here {per_class} × {classes}: save the whole pack, and "
            "select after opening it"
        )


def _entry(part: Part, roles: dict[str, str]) -> PartEntry:
    return PartEntry(
        kind=part.kind,
        config=part.config.model_dump(mode="json", exclude_defaults=True),
        sources=0 if part.sources is None else len(part.sources),
        tensors=roles,
        stage=part.stage,
        name=part.name,
        class_decoders=part.class_decoders,
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()


def _labels(labels: Tensor, classes: int) -> NDArray[Any]:
    """Store hard labels in the smallest fitting dtype; soft labels as they are."""
    values = _array(labels)
    return values.astype(np.min_scalar_type(classes - 1)) if values.ndim == 1 else values

"""Checks that parts and card fit the tensors they name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats.card import Card, NormalizedSpace, ZcaSpace
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.kinds import KindConfig, kind_config
from dsetpack.formats.manifest import Manifest, PartEntry
from dsetpack.formats.words import plural

INTEGERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64")
FLOATS = ("float16", "float32", "float64")


def part_config(part: PartEntry) -> KindConfig:
    """The configuration of a part's decoder kind.

    Raises:
        VersionError: if this version does not know the kind.
        FormatError: if the configuration does not fit the kind.
    """
    model = kind_config(part.kind)
    with at(f"kind {part.kind!r}: config"):
        return model.model_validate(part.config, strict=True)


def part_shapes(part: PartEntry, config: KindConfig, card: Card) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that a part must have, by role."""
    shapes = dict(config.bank_shapes(card.shape, len(card.classes)))
    if config.has_sources:
        shapes["sources"] = (part.sources, *config.source_shape(card.shape))
        hard = card.labels.kind == "hard"
        shapes["labels"] = (part.sources,) if hard else (part.sources, len(card.classes))
    return shapes


def drawing(manifest: Manifest, card: Card, per_class: int | None) -> Card:
    """The card with another number of images per class and epoch of a generator; None changes nothing.

    Raises:
        FormatError: if no part is a generator, or the number is not positive.
    """
    if per_class is None:
        return card
    with at("per_class"):
        if all(part.sources for part in manifest.parts):
            raise FormatError("it is for packs with a generator, and this one has none: leave it out")
        return card.replace(per_class=per_class)


def part_size(part: PartEntry, card: Card) -> tuple[int, int]:
    """The number of sources of a part (0 for a generator if the card has no ``per_class``), and of slots per source."""
    config = part_config(part)
    sources = part.sources if config.has_sources else len(card.classes) * (card.per_class or 0)
    return sources, len(part.class_decoders[0]) if part.class_decoders else config.bank_size()


def check_part(part: PartEntry, manifest: Manifest) -> None:
    """Check that the roles, shapes and dtypes of a part's tensors fit its kind, and so do its decoder lists."""
    config = part_config(part)
    shapes = part_shapes(part, config, manifest.card)
    if set(part.tensors) != set(shapes):
        raise FormatError(f"tensors for the roles {sorted(part.tensors)} found, {sorted(shapes)} expected")
    if config.has_sources != (part.sources > 0):
        raise FormatError(f"{plural(part.sources, 'source')} found for kind {part.kind!r}")
    for role, shape in shapes.items():
        _check_role(role, shape, part.tensors[role], manifest)
    _check_class_decoders(part, config, len(manifest.card.classes))
    by_class = not config.has_sources or part.class_decoders is not None
    if by_class and manifest.card.labels.kind != "hard":
        raise FormatError("its sources or decoders are chosen by class: the card's labels must be hard")


def _check_role(role: str, shape: tuple[int, ...], name: str, manifest: Manifest) -> None:
    tensor = manifest.tensors.get(name)
    if tensor is None:
        raise FormatError(f"{role}: tensor {name!r} is not in the index")
    if tensor.shape != shape:
        raise FormatError(f"{role}: tensor {name!r} has shape {list(tensor.shape)}, the decoder needs {list(shape)}")
    hard = role == "labels" and manifest.card.labels.kind == "hard"
    if tensor.dtype not in (INTEGERS if hard else FLOATS):
        raise FormatError(f"{role}: tensor {name!r} is {tensor.dtype}, {'integers' if hard else 'floats'} expected")


def _check_class_decoders(part: PartEntry, config: KindConfig, classes: int) -> None:
    lists = part.class_decoders
    if lists is None:
        return
    if len(lists) != classes:
        raise FormatError(
            f"class_decoders has {plural(len(lists), 'list')}, one for each of {plural(classes, 'class')} expected"
        )
    if len({len(chosen) for chosen in lists}) != 1 or not lists[0]:
        raise FormatError("class_decoders must allow equally many decoders, at least one, for every class")
    for label, chosen in enumerate(lists):
        if len(set(chosen)) != len(chosen) or max(chosen) >= config.bank_size():
            raise FormatError(
                f"class_decoders of class {label}: {list(chosen)}; 0..{config.bank_size() - 1} expected, each once"
            )


def check_card(manifest: Manifest) -> None:
    """Check that the card's space fits its shape and that the tensors it embeds exist."""
    space, size = manifest.card.space, math.prod(manifest.card.shape)
    if isinstance(space, NormalizedSpace):
        _check_standardisation(space.mean, space.std, manifest.card.shape[0])
    if isinstance(space, ZcaSpace) and space.channel_mean is not None and space.channel_std is not None:
        _check_standardisation(space.channel_mean, space.channel_std, manifest.card.shape[0])
    if isinstance(space, ZcaSpace) and space.storage == "embed":
        _check_role("space mean", (size,), str(space.mean), manifest)
        _check_role("space matrix", (size, size), str(space.matrix), manifest)


def _check_standardisation(means: Sequence[float], stds: Sequence[float], channels: int) -> None:
    """Check that there are one mean and one deviation per channel, usable in float32."""
    if {len(means), len(stds)} != {channels}:
        raise FormatError(
            f"space: {plural(len(means), 'mean')} and {plural(len(stds), 'deviation')} for "
            f"{plural(channels, 'channel')}"
        )
    with np.errstate(over="ignore"):
        values = np.array([means, stds], np.float32)
    if not np.isfinite(values).all() or not values[1].all():
        raise FormatError(f"space: means {means} and deviations {stds} must be finite, and not 0, as float32")


def roles_of(manifest: Manifest) -> dict[str, dict[str, str]]:
    """The roles of each tensor, each with the first place that says so."""
    roles: dict[str, dict[str, str]] = {}
    for number, part in enumerate(manifest.parts):
        for role, name in part.tensors.items():
            roles.setdefault(name, {}).setdefault(role, f"part {number}: {role}")
    space = manifest.card.space
    if isinstance(space, ZcaSpace):
        for role, found in (("mean", space.mean), ("matrix", space.matrix)):
            roles.setdefault(str(found), {}).setdefault("space", f"space {role}")
    return roles


def check_values(role: str, values: NDArray[np.generic], card: Card) -> None:
    """Check decoded values: labels must name classes, and floats must be finite if the card says so.

    Raises:
        FormatError: if a value does not fit; the message names the first.
    """
    if role == "labels" and card.labels.kind == "hard":
        wrong = np.flatnonzero((values < 0) | (values >= len(card.classes)))  # type: ignore[operator]
        if wrong.size:
            label = values.flat[wrong[0]]
            raise FormatError(f"label {label} of source {wrong[0]}; the card has {plural(len(card.classes), 'class')}")
    elif card.finite and values.dtype.kind == "f" and not bool(np.isfinite(values).all()):
        where = int(np.flatnonzero(~np.isfinite(values))[0])
        raise FormatError(f"{values.flat[where]} at element {where}; the card promises finite values")

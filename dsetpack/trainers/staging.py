"""Stages of a continual learner: which ones are possible, from which images, and how a stage goes into a pack."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import JsonValue
from torch import Tensor

from dsetpack.decoders import Decoder, decoder
from dsetpack.formats.card import Card, SpaceModel, ZcaSpace
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.words import plural
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.parameterizations import Budget, Parameterization, kfs
from dsetpack.trainers.parameterizations.base import ParameterizationSettings
from dsetpack.trainers.recipe import DistillRecipe

Stage = tuple[int, ...]
"""The classes of a stage, by number."""


def parse_stages(text: str) -> list[Stage]:
    """Parse stages as people write them: ``0,1;2,3`` by classes, or ``5x2`` for 5 stages of 2 classes in order.

    Raises:
        FormatError: if the text is neither.
    """
    wrong = FormatError(
        f"stages {text!r}: expected classes by number, as in '0,1;2,3', or stages x classes, as in '5x2'"
    )
    try:
        if "x" in text:
            count, size = map(int, text.split("x"))
            if min(count, size) < 1:
                raise wrong
            return [tuple(range(first, first + size)) for first in range(0, count * size, size)]
        return [tuple(map(int, stage.split(","))) if stage.strip() else () for stage in text.split(";")]
    except ValueError:
        raise wrong from None


def checked(
    data: ImageData, stages: Sequence[Sequence[int]], taken: Mapping[int, int] | None = None, first: int = 0
) -> list[Stage]:
    """Check the stages; return each with its classes in order.

    Args:
        data: the real images.
        stages: the classes of each stage.
        taken: the classes of earlier stages, with the number of the stage.
        first: the number of the first of ``stages``.

    Raises:
        FormatError: if there are no stages, or a stage has no classes, an unknown class, a class that is already in a
            stage, or one without images; the message names stage and class.
    """
    if not stages:
        raise FormatError("no stages; at least one is expected")
    counts = torch.bincount(data.labels, minlength=len(data.classes)).tolist()
    where = dict(taken or {})
    for number, classes in enumerate(stages, first):
        if not len(classes):
            raise FormatError(f"stage {number} has no classes; at least one is expected")
        for label in classes:
            _check_class(data, label, number, counts, where)
            where[label] = number
    return [tuple(sorted(map(int, classes))) for classes in stages]


def _check_class(data: ImageData, label: int, number: int, counts: Sequence[int], where: Mapping[int, int]) -> None:
    if not 0 <= label < len(counts):
        raise FormatError(f"stage {number}: class {label} is unknown; {data.name} has classes 0 to {len(counts) - 1}")
    name = f"class {label} ({data.classes[label]!r})"
    if label in where:
        raise FormatError(f"stage {number}: {name} is in stage {where[label]} already; a class is in one stage, once")
    if not counts[label]:
        raise FormatError(f"stage {number}: {data.name} has no image of {name}")


def budget(chosen: DistillRecipe, data: ImageData, classes: Stage, number: int) -> Budget:
    """The budget of one stage: ``ipc`` images of each of its classes. KFS's decoders count in stage 0.

    Raises:
        FormatError: if the budget is too small, or the parameterization cannot make a part for only some classes.
    """
    settings = chosen.parameterization
    if not settings.config(data.shape).has_sources:
        raise FormatError(
            f"{settings.name} in stages: a generator draws images of all classes of a pack, so it cannot be the part "
            "of some of them; choose a parameterization that stores its sources"
        )
    with at(f"stage {number} of {plural(len(classes), 'class')}"):
        if number and isinstance(settings, kfs.KfsSettings):
            return settings.budget_later(data.shape, len(classes), chosen.ipc)
        return settings.budget(data.shape, len(classes), chosen.ipc)


def only(data: ImageData, classes: Stage, number: int) -> ImageData:
    """The images of a stage's classes, in their order, as data of these classes alone."""
    own = data.take(torch.isin(data.labels, torch.tensor(classes, device=data.labels.device)).nonzero()[:, 0])
    renumber = torch.zeros(len(data.classes), dtype=torch.int64, device=data.labels.device)
    renumber[list(classes)] = torch.arange(len(classes), device=renumber.device)
    names = tuple(data.classes[label] for label in classes)
    return ImageData(own.images, renumber[own.labels], names, f"{data.name}, stage {number}")


def next_stage(pack: Pack) -> int:
    """The number of the stage that follows a pack's stages."""
    return 1 + max(part.stage for part in pack.parts)


def present(pack: Pack) -> dict[int, int]:
    """The classes that a pack has sources of, with their stages."""
    found: dict[int, int] = {}
    for part in pack.parts:
        hard = part.labels if part.labels.ndim == 1 else part.labels.argmax(1)
        found |= dict.fromkeys(hard.tolist(), part.stage)
    return found


def check_fits(pack: Pack, data: ImageData, chosen: DistillRecipe) -> None:
    """Check that data and a recipe can give one more stage of a pack.

    Raises:
        FormatError: if the classes, the image shape or the pixel space differ.
    """
    card = pack.card
    if data.classes != card.classes:
        raise FormatError(
            f"{data.name} has the classes {_few(data.classes)}, the pack {_few(card.classes)}; all stages have "
            "the same list of classes, and images of some"
        )
    if data.shape != card.shape:
        raise FormatError(f"{data.name} has images of shape {list(data.shape)}, the pack of {list(card.shape)}")
    check_space(card.space, chosen, "the pack's")


def check_space(space: SpaceModel, chosen: DistillRecipe, whose: str) -> None:
    """Check that a recipe has this kind of pixel space.

    Raises:
        FormatError: if it has another kind.
    """
    kind = f"zca-{space.variant}" if isinstance(space, ZcaSpace) else space.kind
    if kind != chosen.space:
        raise FormatError(
            f"the recipe's pixel space is {chosen.space}, {whose} is {kind}: change the recipe's setting "
            f"space to {kind} (settings={{'space': '{kind}'}}), or choose a recipe in that space"
        )


def check_alike(card: Card, synthetic: Parameterization) -> None:
    """Check that the card of a pack describes a set.

    Raises:
        FormatError: if the set has another kind of labels or another epoch rule.
    """
    labels = "hard" if synthetic.targets() is None else "soft"
    if (labels, synthetic.epoch_rule) != (card.labels.kind, card.epoch_rule):
        raise FormatError(
            f"the recipe makes {labels} labels and the epoch rule {synthetic.epoch_rule}, the pack has "
            f"{card.labels.kind} ones and {card.epoch_rule}: all stages of a pack must be alike"
        )


def frozen_bank(pack: Pack, settings: kfs.KfsSettings) -> Decoder:
    """The decoders of a pack that later stages learn codes for.

    Raises:
        FormatError: if the pack has no such decoders, or their configuration differs from the recipe's.
    """
    found = [part for part in pack.parts if part.kind == kfs.KIND]
    if not found:
        kinds = ", ".join(sorted({part.kind for part in pack.parts}))
        raise FormatError(f"the pack has no decoders of kind {kfs.KIND} to learn codes for, only parts of {kinds}")
    config = settings.config(pack.card.shape)
    if found[0].config != config:
        raise FormatError(
            f"the pack's decoders are {found[0].config!r}, the recipe's {config!r}; a later stage keeps the pack's: "
            "set decoders, channels and kernel to the same values"
        )
    return found[0].decoder


def placed(
    part: Part, data: ImageData, classes: Stage, number: int, bank: Decoder | None, settings: ParameterizationSettings
) -> Part:
    """Turn a part over the classes of a stage into one over all classes of ``data``.

    Args:
        part: the result of the stage's distillation.
        data: the data with all classes.
        classes, number: the stage's classes and number.
        bank: the decoders that stages share; None for the part's own.
        settings: the parameterization's settings.
    """
    count = len(data.classes)
    if bank is None:
        bank = decoder(part.kind, part.config, data.shape, count)
        bank.load_state_dict(part.decoder.state_dict())
        bank.requires_grad_(False).eval()
    lists = part.class_decoders
    if lists is not None:  # classes without sources need a list, too; any list will do
        own = dict(zip(classes, lists, strict=True))
        lists = tuple(own.get(label, lists[0]) for label in range(count))
    if part.labels.ndim == 1:
        labels = torch.tensor(classes)[part.labels]
    else:
        labels = spread(part.labels, classes, count, getattr(settings, "label_scale", None))
    return replace(part, decoder=bank, labels=labels, stage=number, class_decoders=lists)


def spread(labels: Tensor, classes: Stage, count: int, scale: float | None) -> Tensor:
    """Spread learned labels over all classes, so that ``images.centred`` over some classes becomes that over all.

    Args:
        labels: float [N, classes of the stage].
        classes: the stage's classes, by number.
        count: the number of all classes.
        scale: the parameterization's ``label_scale``.
    """
    before, after = (scale or math.sqrt(n / 10) for n in (len(classes), count))
    shares = labels.new_zeros(len(labels), count)
    shares[:, list(classes)] = labels * before + 1 / len(classes)
    return (shares - 1 / count) / after


def with_record(card: Card, data: ImageData, chosen: DistillRecipe, record: dict[str, JsonValue]) -> Card:
    """The card of a pack with one more stage; the first record makes it a card of stages.

    Args:
        card: the card of the pack so far, or of stage 0 alone.
        data: the data with all classes.
        chosen: the recipe.
        record: what the card says about the stage: ``classes``, ``data`` (their digest), ``sources`` per class,
            ``floats``, ``over_parameterisation``, and a learned ``lr``.
    """
    settings, provenance = dict(card.provenance.settings), card.provenance
    before = settings.get("stages")
    records = [*before, record] if isinstance(before, list) else [record]
    floats, recipe = provenance.budget_floats, card.recipe
    if len(records) == 1:
        for key in ("sources", "over_parameterisation"):  # each stage has its own
            settings.pop(key, None)
    elif floats is not None:
        floats += int(str(record["floats"]))
    rates = [float(str(one["lr"])) for one in records if isinstance(one, dict) and "lr" in one]
    if recipe is not None and rates:
        recipe = recipe.model_copy(update={"lr": math.fsum(rates) / len(rates)})
    return card.replace(
        title=f"{data.name}, {chosen.method}, {_many(chosen.ipc, 'image')} per class, {_many(len(records), 'stage')}",
        classes=data.classes,
        recipe=recipe,
        provenance=provenance.model_copy(
            update={
                "dataset": provenance.dataset if before else data.name,
                "dataset_digest": None,  # each stage has its own
                "settings": {**settings, "stages": records},
                "budget_floats": floats,
            }
        ),
    )


def digest(tensors: Mapping[str, Tensor], model: SpaceModel | None = None) -> str:
    """``sha256:...`` of named tensors and, if given, a space's model."""
    found = hashlib.sha256(b"" if model is None else json.dumps(model.model_dump(mode="json")).encode())
    for name, value in sorted(tensors.items()):
        found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return "sha256:" + found.hexdigest()


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f", ... ({len(names)})" if len(names) > 5 else "")

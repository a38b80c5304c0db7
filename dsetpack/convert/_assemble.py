"""The way from the contents of a file and the user's declarations to a pack whose card tells the two apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor

from dsetpack.cards.edit import described
from dsetpack.convert._classes import in_classes
from dsetpack.convert._files import sha256
from dsetpack.convert._labels import labels_of, plain_labels
from dsetpack.convert._protocols import method_of, release_training
from dsetpack.convert.base import LABEL_RULES, Found, Given
from dsetpack.decoders import decoder, finished
from dsetpack.files.classes import few
from dsetpack.formats.alpha import without_alpha
from dsetpack.formats.axes import Axes
from dsetpack.formats.card import Augmentation, Card, Labels, Provenance, Recipe
from dsetpack.formats.errors import FormatError, LimitError, at
from dsetpack.pack.arrays import as_images, channels_first
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.recipes.training import Training
from dsetpack.spaces import Raw, Space, Zca, space_from_card
from dsetpack.spaces.ranges import check_range
from dsetpack.version import __version__


def assemble(found: Found, given: Given, layout: str) -> Pack:
    """Make the pack of a converted file.

    Raises:
        FormatError: if the contents do not fit each other, if a value is not finite, or if neither the file nor the
            user says what is needed; the message names the file and the field.
        LimitError: if the images take more bytes in memory than ``given.limits`` allows.
    """
    with at(found.where):
        if given.split is not None and found.split is None:
            raise FormatError(f"the source has no splits; leave out split={given.split!r} (--split)")
        sources = _sources(found, given)
    if found.card is not None:
        return _unpacked(found, found.card, sources, given)
    meant = labels_of(found, given)
    meaning = meant.card
    with at(found.where):
        space = _space(found, given)
    with at(meant.where):
        labels, names = in_classes(meant, found, given)
    with at(found.where):
        training = release_training(found, given, images=len(sources), classes=len(names))
        recipe, augmentation = _training(training, found, given, meaning)
    method = method_of(found, given, training)
    shape = found.shape or _shape(sources)
    with at(found.where):
        _check_fits(space, shape)
        if found.kind in PIXELS and found.sources.dtype != torch.uint8:
            check_range(sources, space)
        with at("card"):
            card = Card(
                title=_title(found, given, method),
                classes=names,
                shape=shape,
                space=space.model,
                labels=meaning,
                epoch_rule="product" if found.product else "paired",
                recipe=recipe,
                augmentation=augmentation,
                provenance=_provenance(found, given, layout, sources, method, training),
                extra=dict(found.extra),
            )
            card = _described(card, given, _description(found, given, layout))
        return _pack(found, card, sources, labels, space)


def _pack(found: Found, card: Card, sources: Tensor, labels: Tensor, space: Space) -> Pack:
    size, classes = card.shape, len(card.classes)
    try:
        bank = finished(found.kind, found.config, size, classes, found.bank)
    except RuntimeError as error:
        shapes = {role: list(values.shape) for role, values in found.bank.items()}
        wanted = decoder(found.kind, found.config, size, classes).state_dict()
        expected = {role: list(values.shape) for role, values in wanted.items()}
        raise FormatError(f"the decoders' tensors {shapes} do not fit {found.kind}; expected {expected}") from error
    part = Part(found.kind, found.config, bank, sources, labels)
    return Pack(card, [part], space)


PIXELS = ("images", "upsample")
"""The kinds whose sources are pixels, and not codes or bases."""


def _sources(found: Found, given: Given) -> Tensor:
    """The sources as finite float32 [N, C, H, W].

    Raises:
        FormatError: if shape or dtype do not fit, if the order of axes is not clear, or if a value is not finite.
        LimitError: if they take more bytes in memory than ``given.limits`` allows.
    """
    values = found.sources
    if (size := math.prod(values.shape) * 4) > given.limits.total:  # a few stored bytes may be expanded to any shape
        raise LimitError(f"{size:,} bytes of shape {list(values.shape)}; raise limits.total")
    images = _channels(as_images(channels_first(values, _axes(found, given))), found, given)
    if bad := int((~images.isfinite()).sum()):
        raise FormatError(f"{bad:,} of {images.numel():,} values are NaN or infinite; finite ones expected")
    return images.contiguous()


def _axes(found: Found, given: Given) -> Axes | None:
    """The order of axes: the layout's, or the declared one."""
    if found.axes is not None and given.axes not in (None, found.axes):
        raise FormatError(f"in this layout images are {found.axes}, not {given.axes}; leave out the declared axes")
    return found.axes or given.axes


def _channels(images: Tensor, found: Found, given: Given) -> Tensor:
    """The images without an alpha channel, if the user said so."""
    if found.kind not in PIXELS:
        if given.drop_alpha:
            raise FormatError(f"sources of kind {found.kind} have no alpha channel; leave out drop_alpha")
        return images
    last = images.shape != found.sources.shape
    pictures = found.card is None and (found.sources.dtype == torch.uint8 or last)
    return without_alpha(images, given.drop_alpha, pictures=pictures)


def _shape(sources: Tensor) -> tuple[int, int, int]:
    channels, height, width = sources.shape[1:]
    return channels, height, width


def _space(found: Found, given: Given) -> Space:
    """The declared space, or the one that the layout or 8-bit values imply.

    Raises:
        FormatError: if neither is known, or if the two differ.
    """
    space = found.space or (Raw() if found.sources.dtype == torch.uint8 else None)
    if space is not None and given.space is not None and given.space.model != space.model:
        what = "8-bit values" if found.space is None else "in this layout the values"
        raise FormatError(f"{what} are {space.model.kind}, not {given.space.model.kind}; leave out the declared space")
    space = space or given.space
    if space is None:
        hint = f" {found.space_hint}" if found.space_hint else ""
        raise FormatError(
            "nothing in the source says which pixel space its values are in; pass space= (--space raw, normalized, "
            f"zca-kornia or zca-frepo, with --dataset NAME, or --mean and --std).{hint}"
        )
    return space


def _check_fits(space: Space, shape: tuple[int, int, int]) -> None:
    """Check that the space has the channels and the size of the images, by applying it.

    Raises:
        FormatError: if it does not.
    """
    if isinstance(space, Zca) and not space.ready:
        return
    with at(f"images {list(shape)} and the declared space"):
        space.apply(torch.zeros(1, *shape))


def _training(
    training: Training | None, found: Found, given: Given, labels: Labels
) -> tuple[Recipe | None, Augmentation | None]:
    """The recipe, with the learning rate that is declared or stored, and the augmentation; None if there is none."""
    if training is None:
        return None, None
    if given.lr == "none":
        return None, training.augmentation
    lr = found.lr if given.lr is None else given.lr
    recipe = training.recipe if lr is None else _with_rate(training.recipe, lr)
    if labels.centred and recipe.loss != "mse":
        recipe = recipe.model_copy(update={"loss": "mse"})
    return recipe, training.augmentation


def _with_rate(recipe: Recipe, lr: float) -> Recipe:
    with at("lr"):
        return Recipe.model_validate({**recipe.model_dump(), "lr": lr})


def _title(found: Found, given: Given, method: str | None) -> str:
    what = method or found.kind
    return f"{given.dataset}, {what}" if given.dataset else f"{what}, converted"


def _declared(given: Given) -> dict[str, JsonValue]:
    """The user's declarations, as the card keeps them."""
    labels = given.labels if given.labels is None or given.labels in LABEL_RULES else Path(given.labels).name
    said: dict[str, Any] = {
        "space": None if given.space is None else given.space.model.kind,
        "labels": labels,
        "classes": list(given.classes) if isinstance(given.classes, tuple) else given.classes,
        "lr": given.lr,
        "factor": given.factor,
        "experiment": given.experiment,
        "split": given.split,
        "absent": given.absent or None,
        "axes": given.axes,
        "drop_alpha": given.drop_alpha or None,
        "dataset": given.dataset,
        "method": given.method,
        "recipe": None if given.recipe is None else Path(given.recipe).name,
    }
    return {key: value for key, value in said.items() if value is not None}


def _described(card: Card, given: Given, description: str) -> Card:
    """The card with the texts that the user gives, and this description after the user's."""
    whole = "\n\n".join(filter(None, ((given.description or "").strip(), description)))
    return described(
        card,
        title=given.title,
        description=whole,
        license=given.license,
        author=given.author,
        url=given.url,
    )


def _description(found: Found, given: Given, layout: str) -> str:
    said = ", ".join(_declared(given)) or "nothing"
    names = ", ".join(file.name for file in found.files[:3]) + (", ..." if len(found.files) > 3 else "")
    read = f"layout {layout}" + (f", split {found.split}" if found.split else "")
    return f"Converted from {names} ({read}). Declared by the one who converted it, not by the files: {said}."


MOST_FILES = 16
"""How many files a card names with their digests; a folder of images may have thousands."""


def _provenance(
    found: Found, given: Given, layout: str, sources: Tensor, method: str | None, training: Training | None
) -> Provenance:
    floats = sources.numel() + sum(values.numel() for values in found.bank.values())
    files: dict[str, JsonValue] = {file.name: sha256(file) for file in found.files[:MOST_FILES]}
    converted: dict[str, JsonValue] = {"layout": layout, "files": files, "declared": _declared(given)}
    if training is not None:
        converted["recipe"] = training.name
    return Provenance(
        dataset=given.dataset,
        method=method,
        settings={"converted": converted},
        budget_floats=floats,
        software={"dsetpack": __version__},
    )


def _unpacked(found: Found, card: Card, sources: Tensor, given: Given) -> Pack:
    """Make the pack of files that ``dsetpack unpack`` wrote, whose card says everything.

    Raises:
        FormatError: if the user declares anything but ``dataset`` or texts of the card, or if there are no labels.
    """
    with at(found.where):
        if said := [name for name in _declared(given) if name not in ("dataset", "method")]:
            raise FormatError(f"unpacked from a pack, whose card says everything; leave out {', '.join(said)}")
        space = space_from_card(card.space, found.tensors)
        if found.labels is None:
            raise FormatError(f"a card without labels ({found.labels_hint})")
    with at(found.labels_where):
        labels, names = plain_labels(found.labels, found)
        if isinstance(names, tuple):
            raise FormatError(f"names ({few(names)}); the numbers of the card's classes expected")
    with at(found.where):
        card = _described(card, given, "" if given.description else card.description)
        card = described(card, method=given.method)
        return _pack(found, card, sources, labels, space)

"""The way from the contents of a file and the user's declarations to a pack whose card tells the two apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import JsonValue
from torch import Tensor

from dsetpack.convert._files import sha256
from dsetpack.convert._labels import class_names, labels_of, plain_labels
from dsetpack.convert._protocols import protocol
from dsetpack.convert.base import LABEL_RULES, Found, Given
from dsetpack.decoders import decoder
from dsetpack.formats.card import Augmentation, Card, Labels, Provenance, Recipe
from dsetpack.formats.errors import FormatError, LimitError, at
from dsetpack.pack.arrays import HIGHEST, LOWEST, as_images
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw, Space, Zca, space_from_card
from dsetpack.version import __version__


def assemble(found: Found, given: Given, layout: str) -> Pack:
    """Make the pack of a converted file.

    Raises:
        FormatError: if the contents do not fit each other, if a value is not finite, or if neither the file nor the
            user says what is needed; the message names the file and the field.
        LimitError: if the images take more bytes in memory than ``given.limits`` allows.
    """
    with at(found.where):
        sources = _sources(found.sources, given)
    if found.card is not None:
        return _unpacked(found, found.card, sources, given)
    labels, meaning = labels_of(found, given)
    with at(found.where):
        space = _space(found, given, sources)
    with at(found.labels_where):
        names = class_names(found, given, labels)
    with at(found.where):
        lr = _rate(found, given)
    recipe, augmentation = _training(found, given, lr, meaning, len(sources))
    shape = found.shape or _shape(sources)
    with at(found.where):
        _check_fits(space, shape)
        with at("card"):
            card = Card(
                title=given.title or _title(found, given),
                description=_description(found, given, layout),
                classes=names,
                shape=shape,
                space=space.model,
                labels=meaning,
                epoch_rule="product" if found.product else "paired",
                recipe=recipe,
                augmentation=augmentation,
                provenance=_provenance(found, given, layout, sources, labels),
            )
        return _pack(found, card, sources, labels, space)


def _pack(found: Found, card: Card, sources: Tensor, labels: Tensor, space: Space) -> Pack:
    bank = decoder(found.kind, found.config, card.shape, len(card.classes))
    try:
        bank.load_state_dict({role: values.float() for role, values in found.bank.items()})
    except RuntimeError as error:
        shapes = {role: list(values.shape) for role, values in found.bank.items()}
        expected = {role: list(values.shape) for role, values in bank.state_dict().items()}
        raise FormatError(f"the decoders' tensors {shapes} do not fit {found.kind}; expected {expected}") from error
    part = Part(found.kind, found.config, bank.requires_grad_(False).eval(), sources, labels)
    return Pack(card, [part], space)


def _sources(values: Tensor, given: Given) -> Tensor:
    """The sources as finite float32 [N, C, H, W].

    Raises:
        FormatError: if shape or dtype do not fit, or if a value is not finite.
        LimitError: if they take more bytes in memory than ``given.limits`` allows.
    """
    if (size := math.prod(values.shape) * 4) > given.limits.total:  # a few stored bytes may be expanded to any shape
        raise LimitError(f"{size:,} bytes of shape {list(values.shape)}; raise limits.total")
    images = as_images(values)
    if bad := int((~images.isfinite()).sum()):
        raise FormatError(f"{bad:,} of {images.numel():,} values are NaN or infinite; finite ones expected")
    return images.contiguous()


def _shape(sources: Tensor) -> tuple[int, int, int]:
    channels, height, width = sources.shape[1:]
    return channels, height, width


def _space(found: Found, given: Given, sources: Tensor) -> Space:
    """The declared space, or the one that the layout or 8-bit values imply.

    Raises:
        FormatError: if neither is known, if the two differ, or if the values cannot be in the space.
    """
    space = found.space or (Raw() if found.sources.dtype == torch.uint8 else None)
    if space is not None and given.space is not None and given.space.model != space.model:
        raise FormatError(
            f"in this layout the values are {space.model.kind}, not {given.space.model.kind}; leave out the declared "
            "space"
        )
    space = space or given.space
    if space is None:
        hint = f" {found.space_hint}" if found.space_hint else ""
        raise FormatError(
            "nothing in the source says which pixel space its values are in; pass space= (--space raw, normalized, "
            f"zca-kornia or zca-frepo, with --dataset NAME, or --mean and --std).{hint}"
        )
    low, high = (float(v) for v in sources.aminmax())
    if isinstance(space, Raw) and found.kind == "images" and not LOWEST <= low <= high <= HIGHEST:
        raise FormatError(f"values from {low:g} to {high:g} are not raw pixels in [0, 1]; say their space")
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


def _rate(found: Found, given: Given) -> float | Literal["none"] | None:
    """The declared or stored learning rate.

    Raises:
        FormatError: if the method learns its rate, and the rate is neither stored nor declared.
    """
    lr = given.lr if given.lr is not None else found.lr
    if lr is None and found.protocol is not None and found.protocol.learned:
        raise FormatError(
            "the method learns its learning rate, and the source does not hold it; pass lr= (--lr 0.02; the log of the "
            "run has it), or lr='none' for a pack without a recipe"
        )
    return lr


def _training(
    found: Found, given: Given, lr: float | Literal["none"] | None, labels: Labels, images: int
) -> tuple[Recipe | None, Augmentation | None]:
    """The release's recipe, with the learning rate if there is one, and its augmentation; None if there is none."""
    own = found.protocol
    if lr == "none":
        return None, None if own is None else own.augmentation
    if own is None:
        if lr is None:
            return None, None
        own = protocol("dsa", images=images, dataset=given.dataset)
    recipe = own.recipe if lr is None else _with_rate(own.recipe, lr)
    if labels.centred and recipe.loss != "mse":
        recipe = recipe.model_copy(update={"loss": "mse"})
    return recipe, own.augmentation


def _with_rate(recipe: Recipe, lr: float) -> Recipe:
    with at("lr"):
        return Recipe.model_validate({**recipe.model_dump(), "lr": lr})


def _title(found: Found, given: Given) -> str:
    what = found.method or found.kind
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
        "dataset": given.dataset,
    }
    return {key: value for key, value in said.items() if value is not None}


def _description(found: Found, given: Given, layout: str) -> str:
    said = ", ".join(_declared(given)) or "nothing"
    names = ", ".join(file.name for file in found.files[:3]) + (", ..." if len(found.files) > 3 else "")
    return f"Converted from {names} (layout {layout}). Declared by the one who converted it, not by the files: {said}."


MOST_FILES = 16
"""How many files a card names with their digests; a folder of images may have thousands."""


def _provenance(found: Found, given: Given, layout: str, sources: Tensor, labels: Tensor) -> Provenance:
    floats = sources.numel() + sum(values.numel() for values in found.bank.values())
    files: dict[str, JsonValue] = {file.name: sha256(file) for file in found.files[:MOST_FILES]}
    converted: dict[str, JsonValue] = {"layout": layout, "files": files, "declared": _declared(given)}
    return Provenance(
        dataset=given.dataset,
        method=found.method,
        settings={"converted": converted},
        budget_floats=floats + (labels.numel() if labels.ndim == 2 else 0),
        software={"dsetpack": __version__},
    )


def _unpacked(found: Found, card: Card, sources: Tensor, given: Given) -> Pack:
    """Make the pack of files that ``dsetpack unpack`` wrote, whose card says everything.

    Raises:
        FormatError: if the user declares anything but ``dataset`` or ``title``, or if there are no labels.
    """
    with at(found.where):
        if said := [name for name in _declared(given) if name != "dataset"]:
            raise FormatError(f"unpacked from a pack, whose card says everything; leave out {', '.join(said)}")
        space = space_from_card(card.space, found.tensors)
        if found.labels is None:
            raise FormatError(f"a card without labels ({found.labels_hint})")
    with at(found.labels_where):
        labels = plain_labels(found.labels, found)
    card = card if given.title is None else card.replace(title=given.title)
    with at(found.where):
        return _pack(found, card, sources, labels, space)

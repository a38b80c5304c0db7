"""What recipes say about training on a set: the network's recipe and the augmentation, by method, data and size."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import at
from dsetpack.recipes.tables import Table, length_for, lengths_of, merged, method_names, recipe_names, recipe_table

DSA: tuple[Any, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
NO_FLIP = ("mnist", "svhn")
"""Data sets in which a mirrored image means something else: DSA leaves out the flip."""


@dataclass(frozen=True)
class Training:
    """How to train on a set.

    Attributes:
        name: the name of the recipe that says so.
        method: the method of that recipe.
        recipe: how a network trains; its learning rate has no meaning if ``learned``.
        augmentation: the augmentation; None for none.
        learned: whether the method learns the learning rate, so that no default is right.
    """

    name: str
    method: str
    recipe: Recipe
    augmentation: Augmentation | None
    learned: bool


def training_of(name: str | Path, data: str | None = None) -> Training:
    """The training that a recipe states.

    Args:
        name: a recipe's name, or a ``.toml`` file.
        data: the name of the real data; what must not be mirrored is not.

    Raises:
        FormatError: if the recipe does not exist, or if what it says about training is not valid.
    """
    return _training(str(name), recipe_table(name), data)


def training_by(method: str, *, data: str | None, images: int, classes: int) -> Training:
    """The training of a method's sets.

    The recipe is that of the method's table row for ``data`` and the nearest budget (in ratio; the smaller of two as
    near). A method without a row for ``data`` trains as its recipe for any data says. Where a method's length depends
    on the number of images, a set without a row of exactly its size takes the length for ``images``.

    Args:
        method: one of ``method_names()``.
        data: the usual name of the real data, such as ``cifar10``; None if it is not known.
        images: the number of images, or bases, that the set stores.
        classes: the number of classes.

    Raises:
        FormatError: if there is no recipe of that name.
    """
    each = images / classes
    rows = {} if data is None else _rows(method, data)
    budget = min(sorted(rows), key=lambda size: abs(math.log(size / each)), default=None)
    name = method if budget is None else rows[budget]
    table = recipe_table(name)
    if budget != each and (lengths := lengths_of(method)):
        table = merged(table, {"evaluation": length_for(lengths, images)})
    return _training(name, table, data)


def _rows(method: str, data: str) -> dict[int, str]:
    """The table rows of a method and a data set, by the number of images or bases per class."""
    pattern = re.compile(rf"{re.escape(method)}-{re.escape(data)}-(?:ipc|bpc)(\d+)")
    return {int(match[1]): match[0] for match in map(pattern.fullmatch, recipe_names()) if match}


def has_training(method: str) -> bool:
    """Whether there is a recipe of this method."""
    return method in method_names()


def _training(name: str, table: Table, data: str | None) -> Training:
    augmentation = as_augmentation(table.get("augmentation"))
    with at(f"recipe {name}"):
        recipe = Recipe.model_validate(table.get("evaluation", {}))
        spec = None if augmentation is None else Augmentation.model_validate(augmentation)
    return Training(
        name=Path(name).stem,
        method=str(table.get("method", name)),
        recipe=recipe,
        augmentation=unflipped(spec) if data in NO_FLIP else spec,
        learned=(table.get("objective") or {}).get("name") == "mtt",
    )


def as_augmentation(value: Any) -> Any:
    """The table that a recipe's augmentation stands for: ``dsa`` is all of DSA, ``none`` is None."""
    return {"ops": list(DSA)} if value == "dsa" else None if value == "none" else value


def unflipped(spec: Augmentation | None) -> Augmentation | None:
    """The augmentation without mirroring; None if nothing is left."""
    ops = () if spec is None else tuple(op for op in spec.ops if op != "flip")
    return spec.model_copy(update={"ops": ops}) if spec is not None and ops else None

"""Recipes: everything that a distillation depends on besides data and seed, as data.

A recipe is a table, read from TOML (``dsetpack.recipes.tables``). ``base`` names the recipe that it starts from. Tables
merge key by key, but a table that names another parameterization or objective replaces the base's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from dsetpack.formats.by_name import chosen, spelled
from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.model import Model, problems
from dsetpack.recipes.full import nearest
from dsetpack.recipes.tables import Table, recipe_table
from dsetpack.recipes.training import NO_FLIP, as_augmentation, unflipped
from dsetpack.trainers import objectives, parameterizations
from dsetpack.trainers.arithmetic import Precision
from dsetpack.trainers.loop import Schedule
from dsetpack.trainers.objectives.adversary import AdversarySettings
from dsetpack.trainers.objectives.base import ObjectiveSettings
from dsetpack.trainers.parameterizations.base import ParameterizationSettings, Positive

SpaceName = Literal["raw", "normalized", "zca-kornia", "zca-frepo"]
Augment = Annotated[Augmentation | None, BeforeValidator(as_augmentation)]


class Figure(Model):
    """What a paper reports for this row.

    Attributes:
        accuracy, std: fractions in [0, 1].
        source: the paper and table.
        note: how the paper's setting differs from the recipe's.
    """

    accuracy: Annotated[float, Field(gt=0, lt=1)]
    std: float | None = None
    source: str
    note: str | None = None


class DistillRecipe(Model):
    """All that a distillation depends on, besides data and seed.

    Attributes:
        title: a title for people.
        method: the method's usual name; it goes into the pack's provenance.
        data: the data set that the recipe is meant for; None for any.
        ipc: the budget in images per class: the set may have as many floats as these images.
        space: the pixel space for matching, and later for training.
        siamese: augmentation shared by real and synthetic images while matching (``"dsa"`` for all of DSA).
        parameterization, objective, schedule: the method. Without an objective the set stays as it starts: a selection.
        adversary: HaBa's min-max game on top of the objective.
        precision: the precision of products while distilling; see ``Precision``.
        evaluation, augmentation: how to train on the pack; they go into its card.
        figures: what papers report.
        inferred: the settings, by dotted name, that no source states.
    """

    title: str = ""
    method: str
    data: str | None = None
    ipc: Positive = 1
    space: SpaceName = "normalized"
    siamese: Augment = None
    parameterization: SerializeAsAny[ParameterizationSettings]
    objective: SerializeAsAny[ObjectiveSettings] | None = None
    schedule: Schedule | None = None
    adversary: AdversarySettings | None = None
    precision: Precision = "float32"
    evaluation: Recipe
    augmentation: Augment = None
    figures: tuple[Figure, ...] = ()
    inferred: tuple[str, ...] = ()


def load_recipe(name: str | Path, changes: Mapping[str, Any] | None = None) -> DistillRecipe:
    """Load a recipe by name, or from a ``.toml`` file.

    Args:
        name: one of ``recipe_names()`` or ``method_names()``, or a path that ends in ``.toml``.
        changes: settings that differ, by dotted name: ``{"schedule.steps": 1000}``.

    Raises:
        FormatError: if the recipe or a setting does not exist; the message gives the nearest valid name.
        FormatError: if the file or a value is not valid; the message names the file and the setting.
    """
    table = recipe_table(name, changes)
    with at(str(name)):
        return _validated(table)


def for_data(found: DistillRecipe, name: str) -> DistillRecipe:
    """The recipe, without mirroring if the data set of this name does not allow it."""
    if name not in NO_FLIP:
        return found
    return found.model_copy(update={key: unflipped(getattr(found, key)) for key in ("siamese", "augmentation")})


def _validated(table: Table) -> DistillRecipe:
    """Validate a table as a recipe: first its polymorphic sections, then the rest."""
    values, known = dict(table), list(_dotted(DistillRecipe))
    choices = {"parameterization": parameterizations.known(), "objective": objectives.known()}
    kinds = {key: _kind(values[key], key, choice) for key, choice in choices.items() if key in values}
    for key, kind in kinds.items():
        values[key] = {**values[key], "name": spelled(choices[key], values[key]["name"])}
        known += _dotted(kind, f"{key}.")
    for key, kind in kinds.items():
        values[key] = _model(kind, values[key], f"{key}.", known)
    if "parameterization" not in values:
        raise FormatError("a recipe needs a table 'parameterization'")
    found = _model(DistillRecipe, values, "", known)
    assert isinstance(found, DistillRecipe)
    _check_pair(found)
    return found


def _kind(values: Any, key: str, choice: Mapping[str, type[Model]]) -> type[Model]:
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise FormatError(f"{key} needs a 'name', one of {', '.join(choice)}")
    return chosen(choice, values["name"], key)


def _model(kind: type[Model], values: Table, prefix: str, known: Sequence[str]) -> Model:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        setting = prefix + ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise FormatError(f"no setting {setting!r}; nearest is {nearest(setting, known)!r}") from None
        raise FormatError(f"setting {prefix}{problems(error)} (found {first.get('input')!r})") from None


def _dotted(kind: type[Model], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all settings of a model and of the models inside."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Model):
                yield from _dotted(inner, f"{prefix}{name}.")


def _check_pair(found: DistillRecipe) -> None:
    """Refuse an objective on a parameterization that it makes no sense with, and incomplete methods."""
    objective, on = found.objective, found.parameterization.name
    if (objective is None) != (found.schedule is None):
        raise FormatError("an objective needs a schedule, and a schedule an objective")
    if objective is not None and on in objective.refuses:
        raise FormatError(f"objective {objective.name} on {on}: {objective.refuses[on]}")
    if found.adversary is not None and (on != "haba" or objective is None):
        raise FormatError(f"an adversary needs an objective and hallucinators; the parameterization is {on}")


def as_json(found: DistillRecipe) -> dict[str, Any]:
    """The recipe as plain JSON values, without those that are None."""
    plain: dict[str, Any] = json.loads(found.model_dump_json(exclude_none=True))
    return plain

"""The tables of ``measure/reproduce.py``: their recipes, and what changes in them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dsetpack.recipes.tables import recipe_names

ABLATIONS = Path(__file__).with_name("ablations.toml")
"""The groups of variants, with the figures of the papers."""


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: name of its JSON file.
        recipe: name of the recipe.
        settings: changes of the recipe for distilling.
        evaluation: changes of the card's recipe for training on the pack.
        told: further content of the JSON file, for rendering.
        peer: whether random real images in as many bytes are measured, too.
    """

    name: str
    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    peer: bool = True


def _named(*patterns: str) -> Callable[[], list[Row]]:
    """Make a table of all recipes whose names match, in the order of the patterns."""
    return lambda: [Row(name, name) for pattern in patterns for name in recipe_names() if fnmatchcase(name, pattern)]


def ablations() -> list[Row]:
    """The variants of ``ablations.toml``."""
    groups = tomllib.loads(ABLATIONS.read_text(encoding="utf-8"))["group"]
    return [_variant(group, number) for group in groups for number in range(len(group["variants"]))]


def _variant(group: Mapping[str, Any], number: int) -> Row:
    label, variant = list(group["variants"].items())[number]
    settings = dict(variant.get("settings", {}))
    told = {"group": group["name"], "variant": label, "paper": variant.get("paper")}
    return Row(
        f"{group['name']}-{number}",
        variant.get("recipe", group["recipe"]),
        settings if "recipe" in variant else {**group["settings"], **settings},
        variant.get("evaluation", {}),
        told,
        peer=False,
    )


ALL = Row(
    "all-fashion-mnist-cpu",
    "random-fashion-mnist-cpu-ipc1",
    {"ipc": 6000},
    {"lr": 0.03},
    peer=False,
)
"""All real images: the most that 300 steps can reach, at three times the learning rate of the recipes."""


def fashion_cpu() -> list[Row]:
    """The recipes of all methods for two cores, and all real images."""
    return [*_named("*-fashion-mnist-cpu-*")(), ALL]


def _of_four(data: str) -> Callable[[], list[Row]]:
    """Make a table of the recipes of the four papers for one data set, at the budgets of 1 and 10 images per class."""
    counts = ("bpc1", "bpc9", "ipc1", "ipc10")
    return _named(*(f"{method}-{data}-{n}" for method in ("haba", "kfs", "dim", "isa") for n in counts))


def rest() -> list[Row]:
    """All further recipes of the papers' size."""
    there = {row.name for name in ("fashion-paper", "cifar10-paper") for row in TABLES[name]()}
    return [Row(name, name) for name in recipe_names() if "-cpu-" not in name and name not in there]


TABLES: dict[str, Callable[[], list[Row]]] = {
    "fashion-cpu": fashion_cpu,
    "ablations": ablations,
    "fashion-paper": _of_four("fashion-mnist"),
    "cifar10-paper": _of_four("cifar10"),
    "rest": rest,
}
"""The tables by name; ``rest`` and those that end in ``-paper`` need a GPU."""

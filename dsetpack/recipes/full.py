"""A recipe with all its settings, those that it leaves at their defaults included, without torch.

``settings.json`` holds the defaults; ``python -m dsetpack.trainers.defaults`` writes it anew from the classes that
validate recipes, and a test compares the two.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from dsetpack.formats.errors import FormatError, at
from dsetpack.recipes.tables import FOLDER, Table, recipe_table
from dsetpack.recipes.training import as_augmentation

DEFAULTS = FOLDER / "settings.json"


def full_recipe(name: str | Path) -> Table:
    """All settings of a recipe as plain JSON values, without those that are None.

    The names of settings are checked here, their values only when the recipe is used.

    Args:
        name: one of ``recipe_names()`` or ``method_names()``, or a path that ends in ``.toml``.

    Raises:
        FormatError: if there is no such recipe, or if it names a setting that does not exist.
    """
    table = recipe_table(name)
    for key in ("siamese", "augmentation"):
        table[key] = as_augmentation(table.get(key))
    with at(str(name)):
        return _filled(_defaults(), table)


@cache
def _defaults() -> Table:
    found: Table = json.loads(DEFAULTS.read_text(encoding="utf-8"))
    return found


def _filled(node: Table, table: Table, prefix: str = "") -> Table:
    """The defaults of one table with its own values on top.

    A node has ``defaults`` by key; ``inside``, the nodes of keys that are tables; and ``kinds``, the nodes of tables
    that differ by their ``name``.
    """
    for key in table:
        if key not in node["defaults"]:
            known = list(_dotted(node, prefix))
            raise FormatError(f"no setting {prefix + key!r}; nearest is {nearest(prefix + key, known)!r}")
    result = {}
    for key, default in node["defaults"].items():
        value = table.get(key, default)
        inner = node["inside"].get(key)
        if isinstance(value, dict) and key in node["kinds"]:
            inner = node["kinds"][key].get(value.get("name"))
            if inner is None:
                raise FormatError(f"{prefix}{key} needs a 'name', one of {', '.join(node['kinds'][key])}")
        if isinstance(value, dict) and inner is not None:
            value = _filled(inner, value, f"{prefix}{key}.")
        if value is not None:
            result[key] = value
    return result


def _dotted(node: Table, prefix: str) -> Iterator[str]:
    """Yield the dotted names of all settings of a node."""
    for key in node["defaults"]:
        yield prefix + key
        if key in node["inside"]:
            yield from _dotted(node["inside"][key], f"{prefix}{key}.")


def nearest(setting: str, known: Sequence[str]) -> str:
    """The known dotted name that is most like an unknown one: compared by the last word first, then as a whole."""

    def likeness(name: str) -> tuple[float, float]:
        last = difflib.SequenceMatcher(None, setting.rpartition(".")[2], name.rpartition(".")[2]).ratio()
        return round(last, 1), difflib.SequenceMatcher(None, setting, name).ratio()

    return max(known, key=likeness)

"""Recipes as tables: found by name, merged over their bases, changed by dotted names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsetpack.formats.by_name import closest, spelled
from dsetpack.formats.errors import FormatError

FOLDER = Path(__file__).parent
Table = dict[str, Any]
_CHOICES = {"steps": "epochs", "epochs": "steps"}
"""A card's recipe has only one of the two: setting one drops the other."""


def recipe_names() -> tuple[str, ...]:
    """The names of the shipped recipes of table rows, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def method_names() -> tuple[str, ...]:
    """The names of the shipped recipes of methods for any data, sorted: ``kfs`` as in its paper, ``kfs-cpu`` short."""
    return tuple(sorted(path.stem for path in (FOLDER / "methods").glob("*.toml")))


def recipe_table(name: str | Path, changes: Mapping[str, Any] | None = None) -> Table:
    """A recipe merged over its bases, not validated yet.

    A table that says ``images``, the number of images in its set, takes the length and batch size of training that
    ``lengths`` has for so many.

    Args:
        name: one of ``recipe_names()`` or ``method_names()``, or a path that ends in ``.toml``.
        changes: settings that differ, by dotted name: ``{"schedule.steps": 1000}``.

    Raises:
        FormatError: if the recipe does not exist, is its own base or is not readable TOML, or if a change names a
            setting inside one that has none.
    """
    table = _loaded(name)
    table.pop("lengths", None)
    for key, value in (changes or {}).items():
        _set(table, key, value)
    return table


def lengths_of(method: str) -> Sequence[Table]:
    """What a method's recipe says about sets of other sizes: ``images`` and the settings of sets up to that size."""
    lengths: Sequence[Table] = _loaded(method).get("lengths", [])
    return lengths


def length_for(lengths: Sequence[Table], images: int) -> Table:
    """The settings of the first entry for at least this many images, otherwise of the last.

    A batch is never larger than the set.
    """
    entry = next((one for one in lengths if images <= one["images"]), lengths[-1])
    found = {key: value for key, value in entry.items() if key != "images"}
    return {**found, "batch_size": min(images, found["batch_size"])}


def merged(below: Table, above: Table) -> Table:
    """Merge ``above`` over ``below``, table by table; one that names another thing replaces what is below."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if not (isinstance(old, dict) and isinstance(value, dict)) or value.get("name") not in (None, old.get("name")):
            result[key] = value
            continue
        if key == "evaluation":
            old = {name: kept for name, kept in old.items() if _CHOICES.get(name) not in value}
        result[key] = merged(old, value)
    return result


def recipe_files(name: str | Path) -> tuple[Path, ...]:
    """The file of a recipe, those of its bases after it.

    Raises:
        FormatError: as ``recipe_table``.
    """
    return tuple(path for path, _ in _chain(name))


def _loaded(name: str | Path) -> Table:
    below: Table = {}
    for path, own in reversed(_chain(name)):
        table = {key: value for key, value in own.items() if key not in ("base", "images")}
        if (images := own.get("images")) is not None:
            lengths = table.get("lengths", below.get("lengths"))
            if not lengths or type(images) is not int or images < 1:
                raise FormatError(
                    f"{path}: images is {images!r}; a number of images and a base with 'lengths' expected"
                )
            below = merged(below, {"evaluation": length_for(lengths, images)})
        below = merged(below, table)
    return below


def _chain(name: str | Path) -> list[tuple[Path, Table]]:
    """The files of a recipe and of its bases, and what they hold."""
    found: list[tuple[Path, Table]] = []
    base: str | Path | None = name
    while base is not None:
        path = _path(base)
        if path in (one for one, _ in found):
            raise FormatError(f"{path}: its base is, by way of others or at once, itself")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise FormatError(f"{path}: not a readable recipe ({error})") from error
        found.append((path, table))
        base = table.get("base")
        if base is not None and not isinstance(base, str):
            raise FormatError(f"{path}: base is {base!r}; the name of a recipe expected")
    return found


def _path(name: str | Path) -> Path:
    if str(name).endswith(".toml"):
        return Path(name)
    for path in (FOLDER / f"{name}.toml", FOLDER / "methods" / f"{name}.toml"):
        if path.parent in (FOLDER, FOLDER / "methods") and path.is_file():
            return path
    known = (*recipe_names(), *method_names())
    if (meant := spelled(known, str(name))) not in (None, str(name)):
        return _path(str(meant))
    near = closest(known, name)
    raise FormatError(f"no recipe {str(name)!r}; nearest is {near!r}: 'dsetpack recipes' lists all")


def _set(table: Table, key: str, value: Any) -> None:
    """Change one setting by its dotted name. Validation checks later whether the setting exists."""
    *path, last = key.split(".")
    for name in path:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise FormatError(f"no setting {key!r}: {name!r} has no settings inside")
        table[name] = inner = dict(inner)  # merged tables may be shared
        table = inner
    if path == ["evaluation"] and last in _CHOICES:
        table.pop(_CHOICES[last], None)
    table[last] = value

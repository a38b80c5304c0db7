"""``dsetpack recipes``: the shipped recipes for distilling."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command("recipes")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(name: str | None, as_json: bool) -> None:
    """List the shipped recipes, or show all settings of the recipe NAME."""
    from dsetpack.recipes.full import full_recipe
    from dsetpack.recipes.tables import method_names, recipe_names

    if name is not None:
        click.echo(json.dumps(full_recipe(name), indent=2))
        return
    found = {one: full_recipe(one) for one in (*method_names(), *recipe_names())}
    if as_json:
        click.echo(json.dumps(found))
        return
    _show(found)


def _show(found: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "data", "IPC", "method", "parameterization", "objective", "paper's accuracy", box=None)
    for one, made in found.items():
        kinds = (made.get(key, {}).get("name", "") for key in ("parameterization", "objective"))
        figure = "{accuracy:.1%}, {source}".format(**made["figures"][0]) if made["figures"] else ""
        table.add_row(one, made.get("data", "any"), str(made["ipc"]), made["method"], *kinds, figure)
    Console(width=None if _is_terminal() else 160).print(table)


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()

"""``dsetpack recipes``: the shipped recipes for distilling."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dsetpack.trainers.recipe import DistillRecipe


@click.command("recipes")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(name: str | None, as_json: bool) -> None:
    """List the shipped recipes, or show all settings of the recipe NAME."""
    from dsetpack.trainers import recipe as recipes

    if name is not None:
        click.echo(json.dumps(recipes.as_json(recipes.load_recipe(name)), indent=2))
        return
    found = {one: recipes.load_recipe(one) for one in (*recipes.method_names(), *recipes.recipe_names())}
    if as_json:
        click.echo(json.dumps({one: recipes.as_json(made) for one, made in found.items()}))
        return
    _show(found)


def _show(found: dict[str, DistillRecipe]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "data", "IPC", "method", "parameterization", "objective", "paper's accuracy", box=None)
    for one, made in found.items():
        objective = "" if made.objective is None else made.objective.name
        figure = f"{made.figures[0].accuracy:.1%}, {made.figures[0].source}" if made.figures else ""
        table.add_row(
            one, made.data or "any", str(made.ipc), made.method, made.parameterization.name, objective, figure
        )
    Console(width=None if _is_terminal() else 160).print(table)


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()

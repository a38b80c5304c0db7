"""Runs recipes of a table, one JSON file a row, and shows them.

    python benchmarks/reproduce.py --table fashion-cpu --root FOLDER

For each recipe: distil, store in 8 bits, train networks on the stored pack by its own card, test them on real images.
A row that is there is not run again, and a row that was stopped goes on from its checkpoint in ``runs/reproduce``.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import _common
import click
from rich.console import Console
from rich.table import Table

import dsetpack
from dsetpack.trainers.data import load
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import accuracies
from dsetpack.trainers.recipe import recipe, recipe_names

RUNS = Path("runs/reproduce")
TABLES = {"fashion-cpu": "-fashion-mnist-cpu-"}
"""A table by name: the recipes that have this in theirs."""


def row(name: str, root: str, seeds: int, device: str) -> dict[str, Any]:
    """One recipe, from real images to accuracies."""
    chosen = recipe(name)
    assert chosen.data is not None
    exact, small, times = RUNS / f"{name}-exact.dpk", RUNS / f"{name}.dpk", RUNS / f"{name}.seconds"
    if not exact.exists():
        train, before = load(chosen.data, root), float(times.read_text()) if times.exists() else 0.0
        began = time.perf_counter()
        try:
            distill(train, name, out=exact, device=device, resume=True)
        finally:
            times.write_text(str(before + time.perf_counter() - began))
    dsetpack.open(exact).save(small, encoding="int8")
    pack, test = dsetpack.open(small), load(chosen.data, root, "test")
    found = accuracies(pack, test, seeds=seeds, device=device)
    return {
        "recipe": name,
        "method": chosen.method,
        "ipc": chosen.ipc,
        "images": len(pack),
        "floats": pack.card.provenance.budget_floats,
        "bytes": small.stat().st_size,
        "distil_seconds": float(times.read_text()),
        "accuracies": found,
    }


@click.command()
@click.option("--table", type=click.Choice(sorted(TABLES)), required=True, help="Which recipes.")
@click.option("--only", help="Only recipes with this in their names.")
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder that holds the data.")
@click.option("--seeds", default=3, show_default=True, help="Networks for each pack.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute.")
@click.option("--threads", type=int, help="Threads of torch; by default its own choice.")
@click.option("--render", is_flag=True, help="Run nothing: show what is there.")
def main(table: str, only: str | None, root: str, seeds: int, device: str, threads: int | None, render: bool) -> None:
    environment = _common.environment(_common.start(device, threads))
    folder = _common.RESULTS / table
    RUNS.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (name for name in recipe_names() if TABLES[table] in name and (only or "") in name):
        path = folder / f"{name}.json"
        if not path.exists() and not render:
            _common.write_json(path, {"environment": environment, **row(name, root, seeds, device)})
    show([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])


def show(rows: list[dict[str, Any]]) -> None:
    """The rows on the terminal."""
    table = Table("recipe", "images", "floats", "int8 bytes", "accuracy", "seeds", "distilled in")
    for one in rows:
        values = one["accuracies"]
        spread = f" ± {statistics.stdev(values):.1%}" if len(values) > 1 else ""
        table.add_row(
            one["recipe"],
            f"{one['images']:,}",
            f"{one['floats']:,}",
            f"{one['bytes']:,}",
            f"{statistics.fmean(values):.1%}{spread}",
            str(len(values)),
            f"{one['distil_seconds'] / 60:.1f} min",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

"""Accuracy of the recipes of a table, compared with random real images in as many bytes.

    python benchmarks/measure/reproduce.py --table fashion-cpu --root FOLDER

Each recipe is distilled and stored in 8 bits; networks train on the stored pack as its card says, and are tested on
real images. Networks on random real images train for as many steps under the same augmentation, at the best of three
learning rates.

Each row is one JSON file in ``results/TABLE``: the recipe and its changes, the bytes of the pack, the seconds of
distilling, the accuracies of all seeds, and those of random images (``random``). A row whose file exists is not run
again. A row that was stopped continues from its checkpoint in ``runs/reproduce``.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

import dsetpack
from benchmarks import common
from benchmarks.cases.recipes import TABLES, Row
from dsetpack.pack.pack import Pack
from dsetpack.trainers.baselines import images_within, measure_random
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import accuracies
from dsetpack.trainers.recipe import load_recipe

RUNS = Path("runs/reproduce")
"""The folder of packs and checkpoints."""
SUBSETS = 2
"""Random subsets per baseline; one network per learning rate trains on each."""


def measured(row: Row, root: str, seeds: int, device: str) -> dict[str, Any]:
    """Measure one row, from real images to accuracies."""
    chosen = load_recipe(row.recipe)
    assert chosen.data is not None
    train, test = load(chosen.data, root), load(chosen.data, root, "test")
    small, made = distilled(row, train, device)
    pack, size = dsetpack.open(small), small.stat().st_size
    assert pack.card.recipe is not None
    trained = pack.card.recipe.model_copy(update=dict(row.evaluation))
    return {
        "row": row.name,
        "recipe": row.recipe,
        "settings": dict(row.settings),
        "evaluation": dict(row.evaluation),
        **row.told,
        "method": chosen.method,
        "objective": getattr(chosen.objective, "name", None),
        "ipc": chosen.ipc,
        "figures": [figure.model_dump(exclude_none=True) for figure in chosen.figures],
        "images": len(pack),
        "floats": pack.card.provenance.budget_floats,
        "bytes": size,
        **made,
        "accuracies": accuracies(pack, test, seeds=seeds, recipe=trained, device=device),
        **({"random": baseline(pack, size, train, test, device)} if row.peer else {}),
    }


def distilled(row: Row, train: ImageData, device: str) -> tuple[Path, dict[str, Any]]:
    """The pack of a row in 8 bits, distilled unless it is there, and what its clock file holds.

    Raises:
        click.UsageError: if the pack was made by another version of the recipe.
    """
    stem = RUNS / (row.recipe + (f"-{common.short_hash(row.settings)}" if row.settings else ""))
    exact, small, clock = (stem.with_name(f"{stem.name}{end}") for end in ("-exact.dpk", ".dpk", ".clock.json"))
    told = load_recipe(row.recipe, dict(row.settings)).model_dump(mode="json", exclude={"title", "inferred", "figures"})
    digest = common.short_hash(told)
    if clock.exists() and json.loads(clock.read_text()).get("recipe_digest") != digest:
        raise click.UsageError(f"{stem}* were made by another version of the recipe {row.recipe}: remove them")
    if not exact.exists():
        with kept_clock(clock, digest):
            distill(train, row.recipe, settings=row.settings, out=exact, device=device, resume=True)
    made: dict[str, Any] = json.loads(clock.read_text())
    dsetpack.open(exact).save(small, encoding="int8")
    return small, made


@contextmanager
def kept_clock(path: Path, digest: str) -> Iterator[None]:
    """Keep the wall and processor seconds of a run in a file, added to those of earlier parts that were not killed."""
    before = json.loads(path.read_text()) if path.exists() else {"distill_seconds": 0.0, "distill_cpu_seconds": 0.0}
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        taken = {"distill_seconds": time.perf_counter() - wall, "distill_cpu_seconds": time.process_time() - cpu}
        seconds = {name: before[name] + seconds for name, seconds in taken.items()}
        path.write_text(json.dumps({**seconds, "recipe_digest": digest}))


def baseline(pack: Pack, size: int, train: ImageData, test: ImageData, device: str) -> dict[str, Any]:
    """Random real images in as many bytes, trained like the pack; rows that train alike share one measurement."""
    card, per_class = pack.card, images_within(train, size)
    assert card.recipe is not None
    augmentation = card.augmentation.model_dump() if card.augmentation else None
    told = [train.name, per_class, card.recipe.model_dump(), augmentation, card.space.model_dump()]
    path = RUNS / "random" / f"{per_class}-{common.short_hash(told)}.json"
    if not path.exists():
        found = measure_random(
            train,
            test,
            per_class,
            recipe=card.recipe,
            augmentation=card.augmentation,
            space=pack.space,
            subsets=SUBSETS,
            device=device,
        )
        common.write_json(path, asdict(found))
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@click.command()
@click.option("--table", type=click.Choice(sorted(TABLES)), required=True, help="The table to measure.")
@click.option(
    "--only", metavar="PATTERN", default="*", show_default=True, help="Measure only the rows whose names match."
)
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder with the data sets.")
@click.option("--seeds", default=3, show_default=True, help="Networks per pack.")
@click.option("--device", default="cpu", show_default=True, help="PyTorch device, for example cpu or cuda.")
@click.option("--threads", type=int, help="CPU threads of PyTorch; by default PyTorch chooses.")
@click.option("--render", is_flag=True, help="Run nothing: show what is there.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the JSON files.")
def main(
    table: str, only: str, root: str, seeds: int, device: str, threads: int | None, render: bool, out: Path | None
) -> None:
    """Measure the missing rows of a table, and show all rows that are there."""
    environment = common.environment(common.start(device, threads))
    folder = out or common.RESULTS / table
    RUNS.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for row in (row for row in TABLES[table]() if fnmatchcase(row.name, only)):
        path = folder / f"{row.name}.json"
        if not path.exists() and not render:
            common.write_json(path, {"environment": environment, **measured(row, root, seeds, device)})
    show([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows."""
    table = Table("row", "images", "floats", "int8 bytes", "accuracy", "seeds", "random, as many bytes", "distilled in")
    for one in rows:
        values, random = one["accuracies"], one.get("random")
        spread = f" ± {statistics.stdev(values):.1%}" if len(values) > 1 else ""
        table.add_row(
            one["row"],
            f"{one['images']:,}",
            f"{one['floats']:,}",
            f"{one['bytes']:,}",
            f"{statistics.fmean(values):.1%}{spread}",
            str(len(values)),
            f"{random['accuracy']:.1%} ({random['per_class']} per class)" if random else "",
            f"{one['distill_cpu_seconds'] / 60:.1f} min",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

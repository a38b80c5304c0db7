"""Turn packs that ``reproduce.py`` measured into released packs: the same tensors, with the accuracy in the card.

    python benchmarks/measure/release.py --root FOLDER ROW [ROW ...]

ROW is a row of the table ``fashion-cpu``. Its int8 pack comes from ``runs/reproduce`` and its accuracies come from
``results/fashion-cpu``. This command writes no JSON: it writes ``examples/packs/DATA-METHOD-ipcN.dpk``, which
``dsetpack reproduce`` can then check.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import click

import dsetpack
from benchmarks import common
from benchmarks.measure.reproduce import RUNS
from dsetpack.formats.card import Metric
from dsetpack.formats.seal import recard
from dsetpack.trainers.data import load

TABLE = "fashion-cpu"
PACKS = Path(__file__).parents[2] / "examples" / "packs"


def release(row: str, root: str) -> Path:
    """Release the pack of one row.

    Raises:
        click.UsageError: if the row changes its recipe, or the pack is not the one that was measured.
    """
    measured = json.loads((common.RESULTS / TABLE / f"{row}.json").read_text(encoding="utf-8"))
    if measured.get("settings") or measured.get("evaluation"):
        raise click.UsageError(f"{row} changes its recipe: only plain recipes are released")
    source = RUNS / f"{measured['recipe']}.dpk"
    if source.stat().st_size != measured["bytes"]:
        raise click.UsageError(f"{source} has {source.stat().st_size} bytes; the row measured {measured['bytes']}")
    card = dsetpack.open(source).card
    assert card.recipe is not None
    assert card.provenance.dataset is not None
    data, _, _ = card.provenance.dataset.partition("-")
    out = PACKS / f"{data}-{measured['method']}-ipc{measured['ipc']}.dpk"
    test = load(card.provenance.dataset, root, "test")
    metric = Metric(
        value=statistics.fmean(measured["accuracies"]),
        std=statistics.stdev(measured["accuracies"]),
        seeds=len(measured["accuracies"]),
        arch=card.recipe.arch,
        width=card.recipe.width,
        test_data=test.name,
        test_digest=test.digest,
        test_labels_digest=test.labels_digest,
    )
    told = {"license": "MIT", "credit": "from Fashion-MNIST, Copyright 2017 Zalando SE"}
    recard(source, card.replace(metrics=(metric,), **told), out)
    dsetpack.verify(out)
    return out


@click.command()
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder with the data sets.")
@click.argument("rows", nargs=-1, required=True)
def main(root: str, rows: tuple[str, ...]) -> None:
    """Release the packs of ROWS, rows of the table fashion-cpu."""
    for row in rows:
        out = release(row, root)
        click.echo(f"{out.name}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

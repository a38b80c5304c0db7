"""Which HDF5 readers get a pack's stored arrays.

    python benchmarks/measure/readers.py [--only h5py] [--folder FOLDER] [--accept]

Each reader of ``cases/readers.py`` is installed with pinned versions in an environment of its own, and reads each pack
in a process of its own. A cell is ``right`` (every array has the bits that dsetpack finds stored), ``widened`` (the
same values in a wider type), ``refused`` (an error), ``crashed`` or ``wrong``. FOLDER keeps the environments.

``results/readers-cpu.json`` holds the cells, saved after each reader. If one is worse than recorded there, the command
says so, keeps what was recorded and exits with status 1; ``--accept`` records it all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.cases import readers
from benchmarks.cases.readers import READERS
from benchmarks.common import RESULTS, environment, write_json
from benchmarks.environments import python_of
from dsetpack.formats import Reader

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "v1.0"
PACKS = {
    "float32": GOLDEN / "encoding-shuffle.dpk",
    "codes, one scale": ROOT / "examples" / "packs" / "fashion-idc-ipc1.dpk",
    "codes, a bank": ROOT / "examples" / "packs" / "fashion-kfs-ipc1.dpk",
    "float16": GOLDEN / "encoding-cast-float16.dpk",
    "bfloat16": GOLDEN / "encoding-cast-bfloat16.dpk",
    "several chunks": GOLDEN / "chunks-several.dpk",
}
"""What packs hold: the columns of the table."""
ORDER = ("right", "widened", "refused", "crashed", "wrong")
"""Outcomes from best to worst. Wrong values without an error are worse than none."""
LONGEST = 120
"""Seconds for one pack."""
Cells = dict[str, dict[str, dict[str, str]]]
"""What was found, by reader and pack."""


def cell(name: str, pack: Path, python: Path) -> dict[str, str]:
    """What one reader makes of one pack."""
    alone = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HDF5_PLUGIN_PATH")}
    with tempfile.TemporaryDirectory(prefix="dsetpack-reader-") as place:
        result = Path(place) / "arrays.npz"
        command = [python, "-P", "-W", "ignore", readers.__file__, name, pack, result]
        done = subprocess.run(command, cwd=place, env=alone, capture_output=True, timeout=LONGEST, check=False)
        if (said := result.with_suffix(".txt")).exists():
            return {"outcome": "refused", "message": said.read_text(encoding="utf-8")}
        if done.returncode or not result.exists():
            return {"outcome": "crashed"}
        with np.load(result) as found:
            return compared(dict(found), pack)


def compared(found: dict[str, Any], pack: Path) -> dict[str, str]:
    """The cell of arrays that were read: bits, shapes and types as dsetpack finds them stored."""
    outcomes = {"right": ""}
    with Reader(pack) as reader:
        for name, entry in reader.manifest.datasets.items():
            if name not in found:
                return {"outcome": "refused", "message": f"no array {name}"}
            outcome = _outcome(found[name], _stored(reader, name))
            outcomes[outcome] = f"{name}: {found[name].dtype} for {entry.dtype}"
    worst = max(outcomes, key=ORDER.index)
    return {"outcome": worst} | ({"message": outcomes[worst]} if worst != "right" else {})


def _stored(reader: Reader, dataset: str) -> Any:
    """A dataset's array as dsetpack reads it, tensor by tensor if several share it."""
    own = [name for name, tensor in reader.manifest.tensors.items() if tensor.dataset == dataset]
    if len(own) == 1:
        return reader.stored(own[0])
    own.sort(key=lambda name: reader.manifest.tensors[name].start)
    return np.concatenate([reader.stored(name).ravel() for name in own])


def _outcome(found: Any, expected: Any) -> str:
    if found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes():
        return "right"
    return "widened" if np.array_equal(found, expected) and found.dtype.itemsize > expected.itemsize else "wrong"


def worse(recorded: Cells, found: Cells) -> Iterator[str]:
    """A line for each cell that is worse than the recorded one."""
    for name, packs in found.items():
        for pack, new in packs.items():
            old = recorded.get(name, {}).get(pack)
            if old is not None and ORDER.index(new["outcome"]) > ORDER.index(old["outcome"]):
                yield f"{name}; {pack}: {old['outcome']} -> {new['outcome']} {new.get('message', '')}".rstrip()


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(READERS)), help="Only these readers.")
@click.option("--accept", is_flag=True, help="Record cells that got worse.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path.home() / ".cache" / "dsetpack-readers",
    help="Environments of the readers.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=RESULTS / "readers-cpu.json")
def main(only: tuple[str, ...], accept: bool, folder: Path, out: Path) -> None:
    """Read packs by other programs, and compare with what is recorded."""
    kept: Cells = json.loads(out.read_text(encoding="utf-8"))["cells"] if out.exists() else {}
    lost = 0
    for name in only or READERS:
        python = python_of(READERS[name].requirements, folder.absolute())
        cells = {pack: cell(name, path, python) for pack, path in PACKS.items()}
        click.echo(f"{name}: " + ", ".join(f"{pack} {found['outcome']}" for pack, found in cells.items()))
        for line in (found := list(worse(kept, {name: cells}))):
            click.echo(f"  worse: {line}")
        lost += len(found)
        if accept or not found:
            kept[name] = cells
            packages = {key: list(reader.requirements) for key, reader in READERS.items() if key in kept}
            ordered = {key: kept[key] for key in READERS if key in kept}
            where = environment(torch.device("cpu"))
            write_json(out, {"environment": where, "packages": packages, "cells": ordered})
    if lost and not accept:
        raise click.ClickException(f"{lost} cells are worse than recorded; --accept records them")


if __name__ == "__main__":
    main()

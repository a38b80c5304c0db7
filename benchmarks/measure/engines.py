"""What inference engines make of exported packs, compared with torch.

    python benchmarks/measure/engines.py [--only openvino] [--folder FOLDER]

Each engine of ``cases/engines.py`` is installed with pinned versions in an environment of its own, and runs each pack
of ``cases/engine_packs.py`` in every encoding, in the fast form and the portable one, in a process of its own: so an
engine that goes down takes only one model along. FOLDER keeps environments and what was measured: a run that is
interrupted goes on where it was, and a model that has not changed is not measured again.

A cell is one batch of one model: ``right`` (within 1e-5 of the range of the images that torch makes, with the same
labels), ``right anew`` (the model had to be loaded again for this size of the batch), ``refused`` (an error),
``crashed``, ``slow`` (no end in two minutes) or ``wrong``. Of numbers that do not exist, ``right`` says that they give
an image of the pack.

``results/engines-cpu/ENGINE.json`` holds the cells of each engine. If one is worse than recorded there, the command
names it, keeps the file and exits with status 1; ``--accept`` records it all the same. The command renders the table of
``docs/engines.md`` at the end.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import product
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import dsetpack
from benchmarks.cases import engine_packs, engines
from benchmarks.cases.engine_outcomes import OUTSIDE, Cells, counts, outcome, worse
from benchmarks.cases.engines import ENGINES
from benchmarks.common import RESULTS, environment, short_hash, write_json
from benchmarks.environments import python_of
from benchmarks.tables import render
from dsetpack.onnx import exporter

FORMS = {"fast": False, "portable": True}
LONGEST = 120
"""Seconds for one model."""


@dataclass(frozen=True)
class Model:
    """One pack, in one encoding and form."""

    pack: str
    encoding: str
    form: str

    @property
    def name(self) -> str:
        return f"{self.pack}; {self.encoding}; {self.form}"

    @cache  # noqa: B019 - all of them are needed for every engine
    def files(self) -> tuple[bytes, bytes]:
        """The ONNX file, and the .npz with batches."""
        pack, batches = _stored(self.pack, self.encoding)
        return exporter.model(pack, portable=FORMS[self.form]), batches


@cache
def _stored(pack: str, encoding: str) -> tuple[bytes, bytes]:
    """The bytes of a pack's file, and the .npz with its batches, decoded by torch from that file."""
    data = engine_packs.pack(pack).to_bytes(encoding)
    arrays = {
        f"{batch}/{name}": values
        for batch, of_batch in engine_packs.batches(dsetpack.open(data))
        for name, values in of_batch.items()
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return data, buffer.getvalue()


def models() -> list[Model]:
    """What every engine is given."""
    return [Model(*three) for three in product(engine_packs.CASES, engine_packs.ENCODINGS, FORMS)]


def measured_engine(name: str, python: Path, folder: Path) -> Cells:
    """The cells of one engine, several models at a time, with a line for each as it comes."""
    found: Cells = {}
    asked = models()
    for model in asked:
        model.files()  # here, as random packs are made by torch's one generator
    with ThreadPool(os.cpu_count()) as pool:
        work = pool.imap(lambda model: cells_of(name, model, python, folder), asked)
        for number, (model, cells) in enumerate(zip(asked, work, strict=True), start=1):
            found[model.name] = cells
            click.echo(f"{name} {number}/{len(asked)} {model.name}: {counts({model.name: cells})}", err=True)
    return found


def cells_of(name: str, model: Model, python: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """The cells of one model in one engine, by batch; measured unless they are in the folder."""
    engine = ENGINES[name]
    onnx, batches = model.files()
    code = [inspect.getsource(part) for part in (engine.load, engines.answers, engines.difference, engines.changed)]
    contents = [hashlib.sha256(data).hexdigest() for data in (onnx, batches)]
    kept = folder / "cells" / name / f"{short_hash([*engine.requirements, engine.fixed, *code, *contents])}.json"
    if kept.exists():
        found: dict[str, dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    found = measured(name, onnx, batches, python)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".part")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(kept)
    return found


def measured(name: str, onnx: bytes, batches: bytes, python: Path) -> dict[str, dict[str, Any]]:
    """Run one model in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="dsetpack-engine-") as place:
        folder = Path(place)
        (folder / "model.onnx").write_bytes(onnx)
        (folder / "batches.npz").write_bytes(batches)
        results = folder / "results"
        command = [python, "-P", engines.__file__, name, folder / "model.onnx", folder / "batches.npz", results]
        alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ended = "slow"
        try:
            done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, timeout=LONGEST, check=False)
            ended = "crashed"
            if done.returncode > 0:
                raise click.ClickException(f"{name}: {done.stderr.decode(errors='replace').strip()[-2000:]}")
        except subprocess.TimeoutExpired:
            pass
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    answers = {answer.pop("batch"): outcome(answer) for answer in map(json.loads, lines)}
    names = [*map(str, engine_packs.BATCHES), OUTSIDE]
    return {batch: answers.get(batch, {"outcome": ended}) for batch in names}


def recorded(path: Path) -> Cells:
    """The cells of a results file; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else {}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(ENGINES)), help="Only these engines.")
@click.option("--accept", is_flag=True, help="Record cells that got worse.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path.home() / ".cache" / "dsetpack-engines",
    help="Environments of the engines (GB), and what was measured.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS / "engines-cpu",
    help="Folder of the JSON files.",
)
def main(only: tuple[str, ...], accept: bool, folder: Path, results: Path) -> None:
    """Run exported packs in inference engines, and compare with what is recorded."""
    lost = 0
    for name in only or ENGINES:
        python = python_of(ENGINES[name].requirements, folder.absolute() / "environments")
        cells = measured_engine(name, python, folder)
        click.echo(f"{name}: {counts(cells)}")
        path = results / f"{name}.json"
        for line in (found := list(worse(recorded(path), cells))):
            click.echo(f"  worse: {line}")
        lost += len(found)
        if accept or not found:
            pins = ENGINES[name].requirements
            content = {"engine": name, "environment": environment(torch.device("cpu")), "packages": pins}
            write_json(path, content | {"cells": cells})
    render.write()
    if lost and not accept:
        raise click.ClickException(f"{lost} cells are worse than recorded; --accept records them")


if __name__ == "__main__":
    main()

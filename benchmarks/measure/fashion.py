"""Accuracy of KFS on all of Fashion-MNIST with the ``cpu`` preset, compared with random real images in as many bytes.

    python benchmarks/measure/fashion.py --root FOLDER [--ipc 1] [--ipc 10] [--jobs 2]

Each budget is distilled once and stored in four encodings, and 3 networks train on each encoding; at IPC 1, 10 networks
train on each of exact, int8 and int4 from the same 10 seeds. Networks on random images train for the same number of
steps, on 2 random subsets, at the best of three learning rates. Each finished training is kept in ``runs/fashion``; a
run that was stopped continues from there.

The JSON file holds, for every budget (``budgets``): a row per encoding, with its bytes, its accuracy, and the accuracy
of random images; the points that int8 and int4 lose against exact (``cost_points``, at IPC 1); and figures of papers.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

import dsetpack
from benchmarks import common
from dsetpack.trainers.baselines import RATES, images_within, random_pack, stored_bytes
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import accuracies
from dsetpack.trainers.seeds import derive

ENCODINGS = ("exact", "f16", "int8", "int4")
SEEDS, PAIRED, SUBSETS = 3, 10, 2
STUDENT_T = 2.262
"""The 97.5th percentile of Student's t distribution with PAIRED - 1 = 9 degrees of freedom."""
PAPERS = {
    1: {"HaBa (2× the floats)": 80.9, "IDC": 81.0, "DiM (its own bytes)": 84.5, "FreD": 84.6},
    10: {"HaBa": 88.6, "IDC": 86.0, "DiM (its own bytes)": 88.2, "FreD": 89.1},
}
"""Accuracies that papers report on Fashion-MNIST (ConvNet-3 of width 128, 32-bit floats); KFS reports none."""
OUT = common.RESULTS / "fashion-cpu.json"
RUNS = Path("runs/fashion")
Job = dict[str, Any]
"""One training, as JSON can write it."""


@cache
def _data(root: str, split: str) -> ImageData:
    return load("fashion-mnist", root, split)


def _train(root: str, job: Job) -> float:
    """The accuracy of one training: on a stored pack, or on a random subset at a learning rate."""
    torch.set_num_threads(1)
    kept = dsetpack.open(job["pack"])
    recipe, pack, seed = kept.card.recipe, kept, job["seed"]
    assert recipe is not None
    if "per_class" in job:
        pack = random_pack(_data(root, "train"), job["per_class"], derive(0, seed), kept.space)
        recipe, seed = recipe.model_copy(update={"lr": recipe.lr * job["rate"]}), derive(0, seed)
    options = {"recipe": recipe, "augmentation": kept.card.augmentation}
    return accuracies(pack, _data(root, "test"), seeds=[seed], show=False, **options)[0]


class Ledger:
    """Accuracies by job; each is written to disk as soon as it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.found: dict[str, float] = dict(json.loads(line) for line in lines)

    def all(self, jobs: list[Job]) -> list[float]:
        """The accuracies of jobs; jobs that have not run yet are left out."""
        keys = [json.dumps(job, sort_keys=True) for job in jobs]
        return [self.found[key] for key in keys if key in self.found]

    def run(self, root: str, jobs: list[Job], workers: int) -> None:
        """Run the jobs that have not run yet."""
        missing = [job for job in jobs if json.dumps(job, sort_keys=True) not in self.found]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool, self.path.open("a") as file:
            started = {pool.submit(_train, root, job): json.dumps(job, sort_keys=True) for job in missing}
            for done, future in enumerate(as_completed(started), 1):
                key = started[future]
                self.found[key] = future.result()
                file.write(json.dumps([key, self.found[key]]) + "\n")
                file.flush()
                click.echo(f"{done}/{len(missing)} {self.found[key]:.2%} {key}")


def _distill(root: str, ipc: int) -> tuple[Path, float]:
    """The exact pack of a budget, and the seconds that distilling took; it is distilled once."""
    path, times = RUNS / f"ipc{ipc}-exact.dpk", RUNS / f"ipc{ipc}-seconds.json"
    if not path.exists():
        began = time.perf_counter()
        distill(_data(root, "train"), f"kfs-fashion-mnist-cpu-ipc{ipc}", out=path, encoding="exact", resume=True)
        times.write_text(json.dumps(time.perf_counter() - began))
    pack = dsetpack.open(path)
    for encoding in ENCODINGS[1:]:
        pack.save(RUNS / f"ipc{ipc}-{encoding}.dpk", encoding=encoding)
    return path, float(json.loads(times.read_text()))


def _measure(root: str, ipc: int, workers: int, render: bool) -> dict[str, Any]:
    """Distill and train for one budget; with ``render``, only collect what is there."""
    path, seconds = _distill(root, ipc)
    train, ledger = _data(root, "train"), Ledger(RUNS / "accuracies.jsonl")
    packs = {encoding: RUNS / f"ipc{ipc}-{encoding}.dpk" for encoding in ENCODINGS}
    alike = {encoding: images_within(train, packs[encoding].stat().st_size) for encoding in ENCODINGS}
    paired = {encoding: _pack_jobs(packs[encoding], _seeds(ipc, encoding)) for encoding in ENCODINGS}
    counts = dict.fromkeys(alike[encoding] for encoding in ("int8", "exact", "f16", "int4"))
    random = {count: _random_jobs(packs["exact"], count) for count in counts}
    if not render:
        jobs = [job for group in paired.values() for job in group]
        jobs += [job for by_rate in random.values() for group in by_rate.values() for job in group]
        ledger.run(root, jobs, workers)
    baselines = {n: _best({r: ledger.all(group) for r, group in by_rate.items()}) for n, by_rate in random.items()}
    rows = [
        {
            "encoding": encoding,
            "bytes": packs[encoding].stat().st_size,
            **_spread(ledger.all(paired[encoding][:SEEDS])),
            "random_per_class": alike[encoding],
            "random_bytes": stored_bytes(train, alike[encoding]),
            "random": baselines[alike[encoding]],
        }
        for encoding in ENCODINGS
    ]
    found = {encoding: ledger.all(jobs) for encoding, jobs in paired.items()}
    costs = {e: _difference(found["exact"], found[e]) for e in ("int8", "int4")} if ipc == 1 else {}
    card = dsetpack.open(path).card
    return {
        "ipc": ipc,
        "images": len(dsetpack.open(path)),
        "floats": card.provenance.budget_floats,
        "distill_seconds": seconds,
        "recipe": card.recipe.model_dump(exclude_defaults=True) if card.recipe else None,
        "settings": card.provenance.settings,
        "rows": rows,
        "cost_points": costs,
        "papers": PAPERS.get(ipc, {}),
    }


def _seeds(ipc: int, encoding: str) -> int:
    """How many networks train on an encoding of a pack."""
    return PAIRED if ipc == 1 and encoding != "f16" else SEEDS


def _pack_jobs(pack: Path, seeds: int) -> list[Job]:
    """The trainings on a stored pack."""
    return [{"pack": str(pack), "seed": seed} for seed in range(seeds)]


def _random_jobs(pack: Path, per_class: int) -> dict[float, list[Job]]:
    """The trainings on random images, by learning rate; ``pack`` says how to train."""
    return {
        rate: [{"pack": str(pack), "per_class": per_class, "rate": rate, "seed": seed} for seed in range(SUBSETS)]
        for rate in RATES
    }


def _spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation; empty if nothing was measured."""
    return {"accuracy": statistics.fmean(values), "std": statistics.stdev(values)} if len(values) > 1 else {}


def _best(by_rate: dict[float, list[float]]) -> dict[str, float]:
    """The best learning rate of a baseline, chosen on the test images in its favour; empty if a training is missing."""
    if min(map(len, by_rate.values())) < SUBSETS:
        return {}
    rate = max(by_rate, key=lambda r: statistics.fmean(by_rate[r]))
    return {**_spread(by_rate[rate]), "rate": rate}


def _difference(exact: list[float], other: list[float]) -> dict[str, float]:
    """Points lost against exact over paired seeds: the mean and its 95% interval by Student's t."""
    lost = [100 * (a - b) for a, b in zip(exact, other, strict=True)]
    mean, half = statistics.fmean(lost), STUDENT_T * statistics.stdev(lost) / len(lost) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "pairs": len(lost)}


@click.command()
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder with the data sets.")
@click.option(
    "--ipc", "budgets", multiple=True, default=(1, 10), type=int, show_default=True, help="Budgets; may be repeated."
)
@click.option("--jobs", default=2, show_default=True, help="Trainings that run at the same time, with one thread each.")
@click.option("--render", is_flag=True, help="Train nothing: write and show what is there.")
@click.option("--out", default=OUT, type=click.Path(path_type=Path), help="JSON file for the results.")
def main(root: str, budgets: tuple[int, ...], jobs: int, render: bool, out: Path) -> None:
    """Measure KFS on all of Fashion-MNIST, compared with random real images in as many bytes."""
    device = common.start("cpu", None)
    results: dict[str, Any] = {"environment": common.environment(device), "budgets": []}
    for ipc in budgets:
        results["budgets"].append(_measure(root, ipc, jobs, render))
        common.write_json(out, results)
    _show(results)


def _show(results: dict[str, Any]) -> None:
    """Print the rows."""
    table = Table("IPC", "encoding", "bytes", "accuracy", "random per class", "bytes", "accuracy")
    for budget in results["budgets"]:
        for row in budget["rows"]:
            real = (f"{row['random_per_class']}", f"{row['random_bytes']:,}", _percent(row["random"]))
            table.add_row(str(budget["ipc"]), row["encoding"], f"{row['bytes']:,}", _percent(row), *real)
    console = Console()
    console.print(table)
    for budget in results["budgets"]:
        for encoding, cost in budget["cost_points"].items():
            interval = f"{cost['low']:+.2f} to {cost['high']:+.2f}, {cost['pairs']} pairs"
            console.print(f"IPC {budget['ipc']}: {encoding} loses {cost['mean']:+.2f} points ({interval})")


def _percent(value: dict[str, float]) -> str:
    return f"{value['accuracy']:.1%} ± {value['std']:.1%}" if "accuracy" in value else "not measured"


if __name__ == "__main__":
    main()

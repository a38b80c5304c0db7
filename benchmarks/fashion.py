"""KFS on the whole of Fashion-MNIST with the ``cpu`` preset, beside random real images in as many bytes.

    python benchmarks/fashion.py --root FOLDER [--ipc 1] [--ipc 10] [--jobs 2]

For each budget: distill once, store in four encodings, train 3 networks on each; at IPC 1 also 10 paired ones on exact,
int8 and int4. Random images train for as many steps, at the best of three learning rates, over 2 subsets. Each finished
training is kept in ``runs/fashion``; a run that was stopped goes on from there.
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

import _common
import click
import torch
from rich.console import Console
from rich.table import Table

import dsetpack
from dsetpack.trainers.baselines import RATES, images_within, random_pack, stored_bytes
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import accuracies
from dsetpack.trainers.seeds import derive

ENCODINGS = ("exact", "f16", "int8", "int4")
SEEDS, PAIRED, SUBSETS = 3, 10, 2
STUDENT_T = 2.262
"""The 97.5th percentile of Student's t with PAIRED - 1 = 9 degrees of freedom."""
PAPERS = {
    1: {"HaBa (2× the floats)": 80.9, "IDC": 81.0, "DiM (its own bytes)": 84.5, "FreD": 84.6},
    10: {"HaBa": 88.6, "IDC": 86.0, "DiM (its own bytes)": 88.2, "FreD": 89.1},
}
"""Figures of the papers on Fashion-MNIST (ConvNet-3 of width 128, 32-bit floats); KFS reports none."""
RUNS = Path("runs/fashion")


@cache
def _data(root: str, split: str) -> ImageData:
    return load("fashion-mnist", root, split)


def _train(root: str, job: dict[str, Any]) -> float:
    """One training: of a stored pack, or of a random subset at a learning rate."""
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
    """Accuracies by job, kept on disk as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.found: dict[str, float] = dict(json.loads(line) for line in lines)

    def all(self, jobs: list[dict[str, Any]]) -> list[float]:
        """The accuracies of jobs; those not there yet are left out."""
        keys = [json.dumps(job, sort_keys=True) for job in jobs]
        return [self.found[key] for key in keys if key in self.found]

    def run(self, root: str, jobs: list[dict[str, Any]], workers: int) -> None:
        """Run the jobs that are not there yet."""
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
    """The exact pack of a budget and the seconds it took; made once."""
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
    path, seconds = _distill(root, ipc)
    train, ledger, packs = _data(root, "train"), Ledger(RUNS / "accuracies.jsonl"), {}
    for encoding in ENCODINGS:
        packs[encoding] = str(RUNS / f"ipc{ipc}-{encoding}.dpk")
    sizes = {encoding: Path(packs[encoding]).stat().st_size for encoding in ENCODINGS}
    alike = {encoding: images_within(train, sizes[encoding]) for encoding in ENCODINGS}
    paired = {
        e: [{"pack": packs[e], "seed": s} for s in range(PAIRED if ipc == 1 and e != "f16" else SEEDS)]
        for e in ENCODINGS
    }
    random = {
        n: {
            rate: [{"pack": packs["exact"], "per_class": n, "rate": rate, "seed": s} for s in range(SUBSETS)]
            for rate in RATES
        }
        for n in dict.fromkeys(alike[e] for e in ("int8", "exact", "f16", "int4"))
    }
    jobs = [job for group in paired.values() for job in group]
    jobs += [job for by_rate in random.values() for group in by_rate.values() for job in group]
    if not render:
        ledger.run(root, jobs, workers)
    baselines = {n: _best({r: ledger.all(group) for r, group in by_rate.items()}) for n, by_rate in random.items()}
    card = dsetpack.open(path).card
    rows = [
        {
            "encoding": e,
            "bytes": sizes[e],
            **_spread(ledger.all(paired[e][:SEEDS])),
            "random_per_class": alike[e],
            "random_bytes": stored_bytes(train, alike[e]),
            "random": baselines[alike[e]],
        }
        for e in ENCODINGS
    ]
    costs = (
        {}
        if ipc != 1
        else {e: _difference(ledger.all(paired["exact"]), ledger.all(paired[e])) for e in ("int8", "int4")}
    )
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


def _spread(values: list[float]) -> dict[str, float]:
    """Mean and deviation; nothing where nothing was measured."""
    return {"accuracy": statistics.fmean(values), "std": statistics.stdev(values)} if len(values) > 1 else {}


def _best(by_rate: dict[float, list[float]]) -> dict[str, float]:
    """The best learning rate of a baseline, chosen on the test images in its favour; nothing where one is missing."""
    if min(map(len, by_rate.values())) < SUBSETS:
        return {}
    rate = max(by_rate, key=lambda r: statistics.fmean(by_rate[r]))
    return {**_spread(by_rate[rate]), "rate": rate}


def _difference(exact: list[float], other: list[float]) -> dict[str, float]:
    """Points lost against exact over paired seeds: mean and 95% interval (Student's t)."""
    lost = [100 * (a - b) for a, b in zip(exact, other, strict=True)]
    mean, half = statistics.fmean(lost), STUDENT_T * statistics.stdev(lost) / len(lost) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "pairs": len(lost)}


@click.command()
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder that holds the data.")
@click.option("--ipc", "budgets", multiple=True, default=(1, 10), type=int, show_default=True, help="Budgets.")
@click.option("--jobs", default=2, show_default=True, help="Trainings at a time, one thread each.")
@click.option("--render", is_flag=True, help="Train nothing more: write and show what is there.")
@click.option("--out", default=_common.RESULTS / "fashion-cpu.json", type=click.Path(path_type=Path))
def main(root: str, budgets: tuple[int, ...], jobs: int, render: bool, out: Path) -> None:
    device = _common.start("cpu", None)
    results: dict[str, Any] = {"environment": _common.environment(device), "budgets": []}
    for ipc in budgets:
        results["budgets"].append(_measure(root, ipc, jobs, render))
        _common.write_json(out, results)
    _show(results)


def _show(results: dict[str, Any]) -> None:
    table = Table("IPC", "encoding", "bytes", "accuracy", "random a class", "bytes", "accuracy")
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

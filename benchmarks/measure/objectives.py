"""Seconds per step and peak memory of each method, compared with a straightforward implementation in the same run.

    python benchmarks/measure/objectives.py [--device cuda] [--size paper] [--only KFS] [--threads 1]

dsetpack takes a step as it always does: its loop with optimiser, checks, and what follows a step. The peer
(``benchmarks/cases/plain``) does the same from the same start with the same random draws. Before anything is timed, the
gradients of both are compared: in double precision at a tiny size, and at the size and precision of the measurement.
The peer runs with torch's defaults, while dsetpack asks cuDNN for deterministic algorithms; both use the same precision
of products.

Seconds are those of the wall clock. With one CPU thread they are those of the processor, which other work on the
machine disturbs less. What is computed once before the first step (KFS's real means, the experts) is not part of a
step.

The JSON file holds, for every method (``rows``): the seconds per step of both sides; how many times as long the peer
takes, as the median and the quartiles over rounds of alternating steps; whether the goal is met (it counts as missed if
even the upper quartile misses it); the peak memory of both sides; how far their gradients are apart; and, if real means
are computed in advance, the seconds that they take for one network. Memory is measured in a fresh process for each
side: it is the peak over three steps after the first, above a process that holds the real images as bytes. If all
methods were measured, ``precision`` says how coarser products change the loss (``benchmarks/cases/precision.py``).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any, get_args

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cases.objective_sizes import SIZES
from benchmarks.cases.objectives import CASES, ROWS, SEED, Method, set_up
from benchmarks.cases.precision import effect_lines, effects
from benchmarks.common import RESULTS, environment, options, start, summary, write_json
from benchmarks.memory import KEEP_NOTHING, Memory
from dsetpack.trainers.arithmetic import Precision, precision
from dsetpack.trainers.loop import Run, Trainable, optimise
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.objectives.dm import DistributionMatching
from dsetpack.trainers.objectives.means import RealMeans, class_means
from dsetpack.trainers.seeds import generator

SIDES = ("ours", "plain")
SAME = 1e-6
"""How far gradients may be apart in double precision, relative to their norm; dsetpack stores real means as float32."""
ROUNDED = 0.03
"""The same in float32 at full size, where rounding moves a few of millions of values across the kink of a ReLU."""
MOST = 10_000
"""A number of steps that no run reaches."""
MIB = 2**20


class _Enough(Exception):  # noqa: N818
    """Ends a run of the training loop."""


def difference(method: Method, peer: Any, number: int = 0) -> float:
    """How far the gradients of step ``number`` are apart relative to their norm, in the worst parameter group.

    Both sides must have taken the same steps before; neither takes this one.
    """
    groups = method.work.groups()
    for group in (*groups, *peer.optimizer.param_groups):
        for parameter in group["params"]:
            parameter.grad = None
    method.work.backward(number, generator(SEED, "step", number))
    peer.backward(number, generator(SEED, "step", number))
    theirs, found = peer.gradients(), []
    for group in groups:
        ours = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in group["params"]])
        found.append(float((ours - theirs[group["name"]]).norm() / theirs[group["name"]].norm()))
    return max(found)


def check(name: str, device: torch.device) -> float:
    """How far the gradients of the first two steps are apart, in double precision at the tiny size.

    Raises:
        click.ClickException: if the peer computes something else.
    """
    with double(), precision("float32", device), tempfile.TemporaryDirectory() as folder:
        method = set_up(name, SIZES["tiny"], device, Path(folder))
        peer = method.peer()
        apart = max(difference(method, peer, step) for step in range(2))
    if not apart < SAME:
        raise click.ClickException(f"{name}: gradients differ by {apart:.1e} of their norm from the peer's")
    return apart


def alternate(method: Method, peer: Any, device: torch.device, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of every step of both sides, taken in turns; the first step of each side is not counted.

    Ends after ``rounds`` rounds, or after ``seconds`` if at least three rounds are done by then.
    """
    taken: dict[str, list[float]] = {side: [] for side in SIDES}
    began = ours_began = _clock(device)

    def on_step(step: int, _: Mapping[str, float]) -> None:
        nonlocal ours_began
        ours = _clock(device) - ours_began
        with _defaults():
            plain_began = _clock(device)
            peer.step(step, generator(SEED, "step", step))
            plain = _clock(device) - plain_began
        if step:
            taken["ours"].append(ours)
            taken["plain"].append(plain)
        if step == rounds or (step >= 3 and _clock(device) - began > seconds):
            raise _Enough
        ours_began = _clock(device)

    with suppress(_Enough):
        schedule = method.schedule.model_copy(update={"steps": MOST})
        optimise(method.work, schedule, seed=SEED, run=Run(show=False, on_step=on_step, every=MOST))
    return taken


def peak(name: str, side: str, size: str, device: str, threads: int, exact: Precision, folder: Path) -> int | None:
    """Peak memory of three steps of one side, in bytes; to be called in a fresh process."""
    torch.set_num_threads(threads)
    chosen = torch.device(device)
    with precision(exact, chosen):
        for each in ("tiny", size):  # the tiny one loads code and libraries
            memory = Memory(chosen)
            four_steps(set_up(name, SIZES[each], chosen, folder), side, memory.begin)
    return memory.peak()


def four_steps(method: Method, side: str, after_first: Callable[[], None]) -> None:
    """Take four steps of one side, holding nothing of the other; ``after_first`` is called after the first."""
    if side == "ours":
        schedule = method.schedule.model_copy(update={"steps": 4})
        run = Run(show=False, on_step=lambda step, _: None if step else after_first())
        optimise(method.work, schedule, seed=SEED, run=run)
        return
    peer = method.peer()
    del method
    for step in range(4):
        peer.step(step, generator(SEED, "step", step))
        if not step:
            after_first()


def measure(
    name: str, size: str, device: torch.device, rounds: int, seconds: float, exact: Precision
) -> dict[str, Any]:
    """Measure one row."""
    check(name, device)
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        timed = _timed(name, size, device, rounds, seconds, exact, folder)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        with _environment(KEEP_NOTHING):
            peaks = {side: _in_fresh_process(name, side, size, str(device), exact, folder) for side in SIDES}
    case = CASES.get(name, CASES["generator × logits"])
    goal = case.goal if size.startswith("paper") else 1.0
    return timed | {"peer": case.plain, "peak_bytes": peaks, "goal": goal, "met": timed["quartiles"][1] >= goal}


def _timed(
    name: str, size: str, device: torch.device, rounds: int, seconds: float, exact: Precision, folder: Path
) -> dict[str, Any]:
    """Compare the gradients at full size, then measure the seconds of both sides.

    Raises:
        click.ClickException: if the peer computes something else.
    """
    with precision(exact, device):
        method = set_up(name, SIZES[size], device, folder)
        peer = method.peer()
        apart = difference(method, peer)
        if exact == "float32" and not apart < ROUNDED:
            raise click.ClickException(f"{name}: gradients differ by {apart:.1e} of their norm from the peer's")
        taken = alternate(method, peer, device, rounds, seconds)
        means = _means_seconds(method.work, device)
    low, middle, high = quantiles((p / o for p, o in zip(taken["plain"], taken["ours"], strict=True)), n=4)
    return {
        "gradients_apart": apart,
        "seconds": {side: summary(taken[side]) for side in SIDES},
        "times_longer": middle,
        "quartiles": [low, high],
        **({} if means is None else {"means_seconds": means}),
    }


def _means_seconds(work: Trainable, device: torch.device) -> float | None:
    """Seconds for the real means of one network; None if they are not computed in advance."""
    if not isinstance(work, Distillation) or not isinstance(work.objective, DistributionMatching):
        return None
    means = work.objective.means
    if not isinstance(means, RealMeans):
        return None
    net, began = means.pool.build(0, device), _clock(device)
    class_means(net.embed, means.data, means.space)
    return _clock(device) - began


def _in_fresh_process(*what: Any) -> int | None:
    *first, exact, folder = what
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(peak, *first, torch.get_num_threads(), exact, folder).result()


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.process_time() if one_thread(device) else time.perf_counter()


def one_thread(device: torch.device) -> bool:
    """Whether the seconds of the processor would be those of the clock on an idle machine."""
    return device.type == "cpu" and torch.get_num_threads() == 1


@contextmanager
def double() -> Iterator[None]:
    """Make double precision torch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _defaults() -> Iterator[None]:
    """Allow cuDNN any algorithm, as torch does by default."""
    cudnn = torch.backends.cudnn
    before, cudnn.deterministic = cudnn.deterministic, False
    try:
        yield
    finally:
        cudnn.deterministic = before


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def table(rows: Mapping[str, Any], title: str) -> Table:
    """The rows for the terminal."""
    made = Table(title=title, caption="×: how many times as long the straightforward step takes; * misses its goal")
    made.add_column("method")
    for heading in ("ours, ms", "plain, ms", "×", "ours, MiB", "plain, MiB", "gradients apart"):
        made.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        times = [f"{1e3 * row['seconds'][side].median:.1f}" for side in SIDES]
        memory = ["–" if (b := row["peak_bytes"][side]) is None else f"{b / MIB:.0f}" for side in SIDES]
        star = "" if row["met"] else " *"
        made.add_row(name, *times, f"{row['times_longer']:.2f}{star}", *memory, f"{row['gradients_apart']:.0e}")
    return made


@click.command()
@options
@click.option(
    "--size",
    type=click.Choice(list(SIZES)),
    help="How large everything is; by default cpu on a CPU and paper on other devices.",
)
@click.option("--only", multiple=True, help="Measure only the methods whose name contains one of these.")
@click.option("--seconds", default=10.0, show_default=True, help="Stop timing a method after this time.")
@click.option(
    "--precision",
    "exact",
    type=click.Choice(get_args(Precision)),
    default="float32",
    show_default=True,
    help="Precision of matrix products.",
)
def main(
    device: str,
    threads: int | None,
    repeats: int,
    out: Path | None,
    size: str | None,
    only: tuple[str, ...],
    seconds: float,
    exact: Precision,
) -> None:
    """Measure seconds per step and peak memory of each method, compared with a straightforward implementation."""
    chosen, console = start(device, threads), Console()
    if not console.is_terminal:
        console = Console(width=120)
    usual = "cpu" if chosen.type == "cpu" else "paper"
    size = size or usual
    path = out or RESULTS / f"objectives-{chosen.type if size == usual else f'{chosen.type}-{size}'}.json"
    clock = "processor" if one_thread(chosen) else "wall"
    where = environment(chosen)
    result = {"benchmark": "objectives", "size": size, "products": exact, "clock": clock, "environment": where}
    rows = dict[str, Any]()
    with console.status("") as status:
        for name in ROWS:
            if not only or any(part in name for part in only):
                status.update(name)
                rows[name] = measure(name, size, chosen, repeats, seconds, exact)
                write_json(path, result | {"rows": rows})
        status.update("precision")
        result |= {"rows": rows} if only else {"rows": rows, "precision": effects(chosen)}
    write_json(path, result)
    console.print(table(rows, f"A step, size {size}, {exact}, {where['device']}, {clock} time"))
    for line in effect_lines(result.get("precision", {})):
        console.print(line)
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()

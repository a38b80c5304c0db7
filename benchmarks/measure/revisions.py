"""Decoding and training steps of two revisions of this repository, in one run.

    python benchmarks/measure/revisions.py REVISION [--threads 1] [--starts 5] [--rounds 7]

compares a revision with the checkout as it is. Each has a process of its own that imports its own ``dsetpack``; the two
take turns, case by case, and which one begins changes from round to round. So a busy machine slows both alike. Where a
process's memory lies is luck that lasts as long as the process, and worth some percent: so both are started several
times. What counts is processor time: on a shared machine the clock on the wall also measures the neighbours.

Cases: decoding 256 random pairs of every pack in ``examples/packs``; an epoch of a loader; and training steps of a
ConvNet-3 by a pack's recipe. A case uses public names only, which both revisions must have.

The JSON file holds, for every case (``rows``), the seconds of each revision (the fastest call and the median), the
``ratio``: how many times as long the checkout takes, as the median over all rounds of the ratio within a round, and
``fastest``: the ratio of the fastest calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
PACKS = sorted((ROOT / "examples" / "packs").glob("*.dpk"))
BATCH, STEPS, WIDTH = 256, 10, 32
LEAST = 0.2
"""Processor seconds that one measured call should take at least; a case is repeated to get there."""


def cases() -> dict[str, Callable[[], object]]:
    """What a revision is asked to do, by name; runs in its own process."""
    import numpy as np

    import dsetpack
    from dsetpack.trainers.networks import network

    def decoding(path: Path) -> Callable[[], object]:
        pack = dsetpack.open(path, per_class=10) if "dim" in path.name else dsetpack.open(path)
        pairs = np.random.default_rng(0).integers(len(pack), size=BATCH)
        return lambda: pack.decode(pairs)

    found = {f"decode {path.stem}": decoding(path) for path in PACKS}
    kfs = dsetpack.open(next(path for path in PACKS if "kfs" in path.name))
    loader = kfs.loader(batch_size=BATCH, seed=0)
    found["an epoch of the loader"] = lambda: sum(len(x) for x, _ in loader)
    model = network("convnet3", kfs.card.shape, len(kfs.card.classes), WIDTH)
    found[f"{STEPS} training steps"] = lambda: kfs.train(model, seed=0, steps=STEPS)
    return found


def serve() -> None:
    """Answer requests ``name<TAB>repeats`` on the standard input with processor seconds per call."""
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    known = cases()
    print(json.dumps(list(known)), flush=True)
    for line in sys.stdin:
        name, repeats = line.rstrip("\n").split("\t")
        began = time.process_time()
        for _ in range(int(repeats)):
            known[name]()
        print((time.process_time() - began) / int(repeats), flush=True)


class Revision:
    """A process that runs the cases with the ``dsetpack`` of one folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, "--serve", str(threads)],
            cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.names: list[str] = json.loads(self._line())

    def seconds(self, name: str, repeats: int) -> float:
        """Processor seconds of one call of a case, as the mean of ``repeats``."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\t{repeats}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise click.ClickException(f"a revision's process ended with status {self._process.wait()}")
        return line


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A temporary folder with the files of a revision, links included."""
    with tempfile.TemporaryDirectory(prefix="dsetpack-revision-") as folder:
        archive = subprocess.run(["git", "-C", ROOT, "archive", revision], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive)
        yield Path(folder)


def compare(before: Revision, after: Revision, name: str, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of both revisions, round by round."""
    for one in (before, after):
        one.seconds(name, 1)
    repeats = max(1, round(LEAST / max(before.seconds(name, 3), 1e-6)))
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            taken[which].append((before, after)[which].seconds(name, repeats))
    return taken


def measured(folder: Path, threads: int, rounds: int) -> Iterator[tuple[str, tuple[list[float], list[float]]]]:
    """The seconds of every case before and now, from one process of each revision."""
    with ExitStack() as stack:
        before, now = Revision(folder, threads), Revision(ROOT, threads)
        stack.callback(now.close)
        stack.callback(before.close)
        for name in now.names:
            yield name, compare(before, now, name, rounds)


@click.command()
@click.argument("revision")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads of PyTorch.")
@click.option("--starts", default=5, show_default=True, type=click.IntRange(1), help="Processes of each revision.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(3), help="Calls of each case per process.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the results.")
def main(revision: str, threads: int, starts: int, rounds: int, out: Path | None) -> None:
    """Compare a revision of this repository with the checkout as it is."""
    import torch

    from benchmarks.common import RESULTS, environment, ratio, summary, write_json

    taken: dict[str, tuple[list[float], list[float]]] = {}
    with checked_out(revision) as folder:
        for number in range(starts):
            click.echo(f"start {number + 1} of {starts}", err=True)
            for name, (old, new) in measured(folder, threads, rounds):
                before, now = taken.setdefault(name, ([], []))
                before += old
                now += new
    rows = []
    click.echo(
        f"{'case':28} {'before':>10} {'now':>10} {'ratio':>7} {'fastest':>8}   (ms of processor time, fastest call)"
    )
    for name, (old, new) in taken.items():
        fastest = min(new) / min(old)
        found = {
            "case": name,
            "before": summary(old),
            "now": summary(new),
            "ratio": ratio(new, old),
            "fastest": fastest,
        }
        rows.append(found)
        click.echo(f"{name:28} {min(old) * 1e3:10.3f} {min(new) * 1e3:10.3f} {found['ratio']:7.3f} {fastest:8.3f}")
    content = {"environment": environment(torch.device("cpu")), "before": revision, "threads": threads, "rows": rows}
    write_json(out or RESULTS / "revisions-cpu.json", content)


if __name__ == "__main__":
    serve() if "--serve" in sys.argv[1:2] else main()

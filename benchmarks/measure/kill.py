"""Kill processes that save over an existing pack, at instants spread over the save: the file must never be broken.

    python benchmarks/measure/kill.py --kills 200

A forked child reports that its save has begun, and is killed (SIGKILL) some time later. The delays are spread evenly
over the measured duration of a save and a tenth beyond. A child that ended before its kill does not count. There are
two saves: ``pack`` is all of ``formats.write``; ``file`` only replaces a file by a large one, which is otherwise a
short part of a save.

The JSON file holds, for each save, what ``kill_test`` returns. The exit status is 1 if a file was broken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from dsetpack import formats
from dsetpack.formats.atomic import SUFFIX, write_atomically
from dsetpack.formats.card import Card

Save = Callable[[Path, int], None]
GOLDEN_RATIO = 0.6180339887498949


def save_pack(path: Path, version: int) -> None:
    """Save one of two versions of a pack of 200 images."""
    sources = np.random.default_rng(version).standard_normal((200, 3, 16, 16)).astype(np.float32)
    card = Card(title=f"version {version}", classes=("a", "b"), shape=(3, 16, 16))
    part = formats.PartEntry(kind="images", sources=200, tensors={"sources": "sources", "labels": "labels"})
    formats.write(path, card, [part], {"sources": sources, "labels": np.arange(200, dtype=np.uint8) % 2})


def save_file(path: Path, version: int) -> None:
    """Save one of two versions of a file of 32 MiB."""
    write_atomically(path, bytes([version]) * (32 << 20))


SAVES: dict[str, Save] = {"pack": save_pack, "file": save_file}


def kill_test(save: Save, kills: int, folder: Path) -> dict[str, Any]:
    """Kill ``kills`` savers.

    Returns:
        How often the ``old`` file was found, how often the ``new`` one, and how often something else (``broken``),
        children that ended before their kill included; how many temporary files the kills left; and what the folder
        holds after the next save.
    """
    path = folder / "x.dpk"
    wanted = []
    for version in (0, 1):
        save(path, version)
        wanted.append(path.read_bytes())
    save(path, 0)
    duration = statistics.median(_run(save, path, 0, None)[0] for _ in range(5))
    found = {"old": 0, "new": 0, "broken": 0}
    left, present, early, late = 0, 0, 0, 0.0
    for n in range(20 * kills):
        delay = 1.1 * duration * (n * GOLDEN_RATIO % 1)
        _, died = _run(save, path, 1 - present, delay)
        early, late = early + (not died), max(late, delay if died else 0)
        state = wanted.index(data) if (data := path.read_bytes()) in wanted else None
        found["broken" if state is None else "old" if state == present else "new"] += 1
        present = present if state is None else state
        left += len(_temporary(folder))
        if n + 1 - early == kills:
            break
    save(path, present)
    remaining = sorted(p.name for p in folder.iterdir())
    return {
        "kills": n + 1 - early,
        "ended_before_the_kill": early,
        "seconds_of_a_save": duration,
        "latest_kill": late,
        "bytes": len(wanted[0]),
        **found,
        "temporary_files_seen": left,
        "files_after_the_next_save": remaining,
    }


def _temporary(folder: Path) -> list[Path]:
    return list(folder.glob(f".*{SUFFIX}"))


def _run(save: Save, path: Path, version: int, delay: float | None) -> tuple[float, bool]:
    """Fork a saver and kill it ``delay`` seconds after its save has begun; None lets it end.

    Returns:
        The seconds from the beginning of the save to the end of the process, and whether the signal ended it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writing, b"b")
            save(path, version)
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    began = time.perf_counter()
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    return time.perf_counter() - began, os.WIFSIGNALED(status)


@click.command()
@click.option("--kills", type=click.IntRange(1), default=200, show_default=True, help="Kills of each of the two saves.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the results.")
def main(kills: int, out: Path | None) -> None:
    """Kill processes that save, and count what they leave behind."""
    results = {}
    for name, save in SAVES.items():
        with tempfile.TemporaryDirectory() as folder:
            results[name] = kill_test(save, kills, Path(folder))
        click.echo(f"{name}: {results[name]}")
    from benchmarks import common  # imports torch, which the forked children do not need

    device = common.start("cpu", None)
    path = out or common.RESULTS / "kill-cpu.json"
    common.write_json(path, {"environment": common.environment(device), "saves": results})
    sys.exit(1 if any(r["broken"] for r in results.values()) else 0)


if __name__ == "__main__":
    main()

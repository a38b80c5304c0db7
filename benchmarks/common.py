"""What the commands share: options, the description of the machine, interleaved timing, JSON results."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch

RESULTS = Path(__file__).parent / "results"
"""The folder of the committed results; commands write there unless ``--out`` is given."""
PACKAGES = ("torch", "numpy", "h5py", "zstandard")


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median and the fastest of ``repeats`` calls."""

    median: float
    fastest: float
    repeats: int


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every timing command: ``--device``, ``--threads``, ``--repeats``, ``--out``."""
    for option in (
        click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the results."),
        click.option(
            "--repeats", type=click.IntRange(1), default=15, show_default=True, help="Calls of each function."
        ),
        click.option("--threads", type=click.IntRange(1), help="CPU threads of PyTorch; by default PyTorch chooses."),
        click.option("--device", default="cpu", show_default=True, help="PyTorch device, for example cpu or cuda."),
    ):
        function = option(function)
    return function


def start(device: str, threads: int | None) -> torch.device:
    """Set the number of threads and check that the device works.

    Raises:
        click.UsageError: if the device is CUDA and this machine has none.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("this machine has no CUDA device; use --device cpu")
    torch.zeros(1, device=chosen)
    return chosen


def environment(device: torch.device) -> dict[str, Any]:
    """Describe a run: machine, versions, commit and date."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": None if load is None else round(load[0], 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    seconds: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions in turns, so that a busy machine slows all of them alike.

    Every function is called once before timing starts. Timing ends after ``repeats`` rounds, or after ``seconds`` if at
    least three rounds are done by then. ``clock`` may be ``time.process_time``, which counts no neighbours.

    Returns:
        The seconds of every call, by name. All lists have the same length; calls at the same position were timed one
        after the other.
    """
    for function in functions.values():
        function()
    taken: dict[str, list[float]] = {name: [] for name in functions}
    began = time.perf_counter()
    for done in range(repeats):
        if done >= 3 and time.perf_counter() - began > seconds:
            break
        for name, function in functions.items():
            taken[name].append(_timed(function, device, clock))
    return taken


def summary(seconds: list[float]) -> Timing:
    """Median and fastest call."""
    return Timing(statistics.median(seconds), min(seconds), len(seconds))


def ratio(peer: list[float], ours: list[float]) -> float:
    """How many times as long the peer takes: the median, over rounds, of the ratio within a round."""
    return statistics.median(p / o for p, o in zip(peer, ours, strict=True))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write results as JSON: timings become objects, floats are rounded to four significant digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_jsonable(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def short_hash(value: Any) -> str:
    """12 hexadecimal digits of the SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _timed(function: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    _wait(device)
    began = clock()
    result = function()
    _wait(device)
    taken = clock() - began
    del result  # freed after the clock has stopped
    return taken


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _commit() -> str | None:
    """The commit that is checked out, with "+" if tracked files differ from it; None outside a repository."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return f"{commit}+" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    names = [line for line in listing.read_text().splitlines() if "model name" in line] if listing.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def _jsonable(value: Any) -> Any:
    if isinstance(value, Timing):
        return _jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value

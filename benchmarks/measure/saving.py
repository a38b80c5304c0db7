"""Seconds and bytes of saving packs of some megabytes, before a revision of this repository and now.

    DSETPACK_DATA=... python benchmarks/measure/saving.py REVISION [--rounds 3]

Each pack is saved by a process of its own that imports its revision's ``dsetpack``; the two revisions take turns, and
which one begins changes from round to round. What counts is processor time, of all threads together: on a shared
machine the clock on the wall also measures the neighbours.

Packs: real images, as 8-bit pixels, normalized and whitened; images as they are after some learning; floats of a
decoder kind; and 8-bit and 4-bit codes. CIFAR-10 is left out if its files are not there.

The JSON file holds, for every pack (``rows``), its bytes and the processor seconds (fastest and median) by revision,
``time``: the share of the time that is left, as the median of the rounds, and ``bytes``: how many times as large the
file is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SIZE = 6_000_000
"""About the bytes of each pack's images before compression."""
STATISTICS = {
    "fashion-mnist": (np.float32([0.2860]), np.float32([0.3530])),
    "cifar10": (np.float32([0.4914, 0.4822, 0.4465]), np.float32([0.2023, 0.1994, 0.2010])),
}
Images = np.ndarray


def real(name: str, itemsize: int) -> Images:
    """Real images, uint8 [N, C, H, W], whose values have ``SIZE`` bytes if one has ``itemsize``."""
    from dsetpack.trainers.data import load

    images = load(name, split="train").images.numpy()
    return images[: SIZE // itemsize // images[0].size]


def pixels(name: str) -> Images:
    """Real images, float32 in [0, 1], which a pack stores as the 8-bit pixels that they are."""
    return real(name, 1).astype(np.float32) * np.float32(1 / 255)


def normalized(name: str) -> Images:
    """Real images, normalized float32."""
    mean, std = (values.reshape(-1, 1, 1) for values in STATISTICS[name])
    return (real(name, 4).astype(np.float32) / 255 - mean) / std


def learned(name: str) -> Images:
    """Real images, normalized, after small changes of every value."""
    images = normalized(name)
    return images + 0.3 * noise(images.shape)


def whitened(name: str) -> Images:
    """Real images in ZCA space."""
    import torch

    from dsetpack.spaces import Zca

    images = torch.from_numpy(real(name, 4))
    return Zca.fit(images).apply(images.float() / 255).numpy()


def noise(shape: tuple[int, ...]) -> Images:
    """Standard normal float32."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


PACKS: dict[str, tuple[str, Callable[[], Images], str]] = {
    "fashion-mnist, 8-bit pixels": ("images", lambda: pixels("fashion-mnist"), "exact"),
    "fashion-mnist, normalized": ("images", lambda: normalized("fashion-mnist"), "exact"),
    "fashion-mnist, whitened": ("images", lambda: whitened("fashion-mnist"), "exact"),
    "fashion-mnist, learned": ("images", lambda: learned("fashion-mnist"), "exact"),
    "cifar10, 8-bit pixels": ("images", lambda: pixels("cifar10"), "exact"),
    "cifar10, normalized": ("images", lambda: normalized("cifar10"), "exact"),
    "cifar10, learned": ("images", lambda: learned("cifar10"), "exact"),
    "cifar10, learned, f16": ("images", lambda: learned("cifar10"), "f16"),
    "noise": ("images", lambda: noise((1950, 1, 28, 28)), "exact"),
    "noise, int8": ("images", lambda: noise((7650, 1, 28, 28)), "int8"),
    "noise, int4": ("images", lambda: noise((7650, 1, 28, 28)), "int4"),
    "kfs codes": ("kfs", lambda: noise((10000, 12, 4, 4)), "exact"),
}
"""Packs by name: the decoder kind, the sources, and the encoding."""


def save(name: str) -> tuple[float, int]:
    """Processor seconds and bytes of saving one pack, by the ``dsetpack`` of this process."""
    from benchmarks.cases.packs import CLASSES, CONFIGS, distilled_card
    from dsetpack import formats
    from dsetpack.formats.kinds import kind_config

    kind, make, encoding = PACKS[name]
    sources = np.ascontiguousarray(make(), np.float32)
    shape = tuple(sources.shape[1:]) if kind == "images" else (1, 28, 28)
    config = kind_config(kind).model_validate(CONFIGS[kind])
    tensors = {role: noise(s) for role, s in config.bank_shapes(shape, len(CLASSES)).items()}
    tensors |= {"sources": sources, "labels": (np.arange(len(sources)) % len(CLASSES)).astype(np.uint8)}
    part = formats.PartEntry(kind=kind, config=CONFIGS[kind], sources=len(sources), tensors={r: r for r in tensors})
    card = distilled_card(kind, CLASSES, shape)
    began = time.process_time()
    data = formats.encode(card, [part], tensors, encoding)
    return time.process_time() - began, len(data)


def measured(folder: Path, name: str) -> tuple[float, int]:
    """``save`` in a process of the revision in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", __file__, "--save", name]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds, size = json.loads(done.stdout)
    return seconds, size


def compare(before: Path, name: str, rounds: int) -> dict[str, Any]:
    """One row: both revisions, round by round."""
    from benchmarks.common import ratio, summary

    taken: dict[Path, list[float]] = {before: [], ROOT: []}
    sizes = {}
    for number in range(rounds):
        for folder in (before, ROOT) if number % 2 else (ROOT, before):
            seconds, sizes[folder] = measured(folder, name)
            taken[folder].append(seconds)
    return {
        "pack": name,
        "before": {"bytes": sizes[before], "seconds": summary(taken[before])},
        "now": {"bytes": sizes[ROOT], "seconds": summary(taken[ROOT])},
        "time": ratio(taken[ROOT], taken[before]),
        "bytes": sizes[ROOT] / sizes[before],
    }


@click.command()
@click.argument("revision")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Saves of each pack.")
@click.option("--only", default="", help="Only packs whose names contain this.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the results.")
def main(revision: str, rounds: int, only: str, out: Path | None) -> None:
    """Compare saving by a revision of this repository with saving by the checkout as it is."""
    import torch

    from benchmarks.common import RESULTS, environment, write_json
    from benchmarks.measure.revisions import checked_out

    there = (Path(os.environ.get("DSETPACK_DATA", "")) / "cifar10").is_dir()
    rows = []
    click.echo(f"{'pack':30} {'bytes':>10} {'now':>10} {'ratio':>7} {'s':>7} {'now':>7} {'share':>7}")
    with checked_out(revision) as folder:
        for name in PACKS:
            if only in name and (there or "cifar10" not in name):
                row = compare(folder, name, rounds)
                rows.append(row)
                old, new = row["before"], row["now"]
                click.echo(
                    f"{name:30} {old['bytes']:10,} {new['bytes']:10,} {row['bytes']:7.3f} "
                    f"{old['seconds'].median:7.2f} {new['seconds'].median:7.2f} {row['time']:7.3f}"
                )
    content = {"environment": environment(torch.device("cpu")), "before": revision, "rounds": rounds, "rows": rows}
    write_json(out or RESULTS / "saving-cpu.json", content)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--save"]:
        print(json.dumps(save(sys.argv[2])))
    else:
        main()

"""Seconds that a pack costs: import, opening, the first batch, and training steps compared with decoded tensors.

    python benchmarks/measure/runtime.py [--device cuda]

ConvNet-3 (width 128) trains batch by batch from the pack's loader and from a loader over tensors that were decoded
before. Steps are taken in turns, so that a busy machine slows both alike.

The JSON file holds the seconds of imports in a fresh process (``imports``), the seconds to open each pack and to decode
its first batch (``opening``), and for training (``training``) the seconds of a step from either loader, their ratio
(the median over rounds), and decoding instead of copying a batch as a share of a step (``decode_share``).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import dsetpack
from benchmarks import common
from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.kinds import kind_config
from dsetpack.trainers.networks import network

BATCH = 256
PACKS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "haba, depth 1, 3×32×32": ("haba", {"decoders": 5, "channels": 3, "depth": 1}, (3, 32, 32)),
    "kfs, Low-R, 3×32×32": ("kfs", {"decoders": 8, "channels": (12, 9, 6), "kernel": 2}, (3, 32, 32)),
    "kfs, High-R, 1×28×28": ("kfs", {"decoders": 4, "channels": (2, 4), "kernel": 4}, (1, 28, 28)),
}
IMPORTS = {
    "import dsetpack": "import dsetpack",
    "import torch": "import torch",
    "import dsetpack, open": "import dsetpack; dsetpack.open",
}


def example(name: str, sources: int = 256) -> Pack:
    """A pack of random values, which cost the same to decode as learned ones."""
    kind, settings, image = PACKS[name]
    config = kind_config(kind)(**settings)
    torch.manual_seed(0)
    bank = decoder(kind, config, image, 10).requires_grad_(False).eval()
    part = Part(kind, config, bank, torch.randn(sources, *config.source_shape(image)), torch.arange(sources) % 10)
    return Pack(Card(title=name, classes=tuple("0123456789"), shape=image), [part])


def imports(device: torch.device) -> dict[str, Any]:
    """Seconds of each import in a fresh process, minus the start of the interpreter."""

    def run(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    taken = common.interleaved({"nothing": run("pass")} | {n: run(c) for n, c in IMPORTS.items()}, 5, device)
    empty = common.summary(taken.pop("nothing")).median
    return {name: common.summary(values).median - empty for name, values in taken.items()}


def opening(device: torch.device, repeats: int) -> dict[str, Any]:
    """Seconds to open a file, and to open it and decode the first batch."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in PACKS:
            path = Path(folder) / "a.dpk"
            example(name).save(path, encoding="int8")

            def first(path: Path = path) -> object:
                return next(iter(dsetpack.open(path, device=device).loader(BATCH)))

            functions = {"open": lambda path=path: dsetpack.open(path), "open + first batch": first}
            taken = common.interleaved(functions, repeats, device)  # type: ignore[arg-type]
            found[name] = {what: common.summary(values) for what, values in taken.items()}
    return found


def training(device: torch.device, repeats: int) -> dict[str, Any]:
    """Seconds of a training step from the pack's loader and from decoded tensors."""
    found = {}
    for name in PACKS:
        pack = example(name).to(device)
        kept = pack.materialize()
        train_step = _step(network("convnet3", pack.card.shape, 10, seed=0).to(device))
        sources = {"pre-decoded": _endless(kept), "pack": _endless(pack)}
        functions = {
            what: lambda batches=batches, run=train_step: run(*next(batches)) for what, batches in sources.items()
        }
        taken = common.interleaved(functions, repeats, device, seconds=60)  # type: ignore[arg-type]
        found[name] = {
            **{what: common.summary(values) for what, values in taken.items()},
            "ratio": common.ratio(taken["pack"], taken["pre-decoded"]),
            "decode_share": _decode_share(pack, kept, common.summary(taken["pre-decoded"]).median, device),
        }
    return found


def _decode_share(pack: Pack, kept: Pack, step: float, device: torch.device) -> float:
    """Decoding a batch instead of copying it, as a share of a training step; this leaves out the noise of the step."""
    numbers = torch.randperm(len(pack))[:BATCH].numpy()
    functions = {"pack": lambda: pack.decode(numbers), "kept": lambda: kept.decode(numbers)}
    with torch.no_grad():
        taken = common.interleaved(functions, 60, device)
    return (common.summary(taken["pack"]).median - common.summary(taken["kept"]).median) / step


def _step(model: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """A function that takes one training step."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def _endless(pack: Pack) -> Iterator[tuple[Tensor, Tensor]]:
    loader = pack.loader(BATCH, seed=0, drop_last=True)
    while True:
        yield from loader


@click.command()
@common.options
def main(device: str, threads: int | None, repeats: int, out: Path | None) -> None:
    """Measure import, opening, the first batch, and training steps compared with decoded tensors."""
    chosen = common.start(device, threads)
    results = {
        "environment": common.environment(chosen),
        "imports": imports(chosen),
        "opening": opening(chosen, repeats),
        "training": training(chosen, 2 * repeats),
    }
    common.write_json(out or common.RESULTS / f"runtime-{chosen.type}.json", results)
    _show(results)


def _show(results: dict[str, Any]) -> None:
    """Print the results."""
    console = Console()
    for name, seconds in results["imports"].items():
        console.print(f"{name}: {seconds * 1e3:.0f} ms")
    table = Table(
        "pack", "open", "open + first batch", "step, pre-decoded", "step, from the pack", "ratio", "decode share"
    )
    for name, run in results["training"].items():
        opened = [results["opening"][name][what].median * 1e3 for what in ("open", "open + first batch")]
        steps = [run[what].median * 1e3 for what in ("pre-decoded", "pack")]
        cells = [f"{value:.1f} ms" for value in (*opened, *steps)]
        table.add_row(name, *cells, f"{run['ratio']:.3f}", f"{run['decode_share']:+.2%}")
    console.print(table)


if __name__ == "__main__":
    main()

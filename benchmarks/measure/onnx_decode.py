"""Decode time per image of an exported pack: ``OnnxPack``, compared with torch and with one call per image.

    python benchmarks/measure/onnx_decode.py [--device cuda] [--threads 1] [--encoding int8] [--before REVISION]

All decode random pairs of the same pack (256 sources), from pair numbers to images and labels:

- onnx: ``OnnxPack.decode``, which calls onnxruntime once per batch.
- portable: the same with the model in its portable form.
- torch: ``Pack.decode``.
- loop: the same model, called once per image without ``OnnxPack``; images and labels are then concatenated.

torch and onnxruntime use the same number of threads. With ``--before``, ``onnx`` is compared with the model that a
revision of this repository exports from the same file, and with nothing else; ``onnx_decode_before-cpu.json`` has that,
in processor time, as differences are small.

The JSON file holds, for every decoder (``rows``), the seconds per image in each way, how many times as long as
``onnx`` the others take, the bytes of the model, and the bytes of the pack's stored tensors (uncompressed). Times
are medians of calls that were taken in turns; ratios are medians over the rounds.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cases.decoders import CASES, IMAGES
from benchmarks.common import RESULTS, environment, interleaved, options, ratio, start, summary, write_json
from benchmarks.measure.revisions import checked_out
from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats import Reader
from dsetpack.formats.manifest import ITEMSIZE
from dsetpack.onnx import OnnxPack
from dsetpack.onnx.exporter import model
from dsetpack.order import philox

SOURCES = 256
EXPORT = """
import sys
from dsetpack.onnx.exporter import model
sys.stdout.buffer.write(model(sys.stdin.buffer.read()))
"""
"""A pack's bytes become those of a model, by whichever revision is on the path."""


def random_pack(kind: str, config: dict[str, Any], image: str) -> Pack:
    """A pack of untrained decoders and random sources."""
    torch.manual_seed(0)
    bank = decoder(kind, config, IMAGES[image], 10).requires_grad_(False)
    labels = torch.arange(SOURCES) % 10
    sources = torch.randn(SOURCES, *bank.source_shape) if bank.config.has_sources else None
    if sources is None:
        labels = torch.arange(10).repeat_interleave(SOURCES // 10)
    card = Card(title=kind, classes=tuple("0123456789"), shape=IMAGES[image], per_class=SOURCES // 10)
    return Pack(card, [Part(kind, bank.config, bank, sources, labels)])


def one_image(data: bytes, providers: list[str]) -> Callable[[int], list[np.ndarray[Any, Any]]]:
    """A function that decodes one pair by one call of onnxruntime, without ``OnnxPack``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # as OnnxPack does
    session = onnxruntime.InferenceSession(data, options, providers=providers)
    sizes = {value.name: value.shape[1:] for value in session.get_inputs()}

    def decode(pair: int) -> list[np.ndarray[Any, Any]]:
        inputs = {"index": np.array([pair])}
        if "noise" in sizes:
            inputs["noise"] = philox.noise(0, 0, [pair], *sizes["noise"])
        found: list[np.ndarray[Any, Any]] = session.run(["image", "label"], inputs)
        return found

    return decode


def exported_by(folder: Path, file: bytes) -> bytes:
    """The model that the revision in a folder makes of a pack."""
    command = [sys.executable, "-P", "-c", EXPORT]
    surroundings = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=surroundings, check=True, input=file, stdout=subprocess.PIPE).stdout


def measure(
    pack: Pack, encoding: str, batch: int, repeats: int, device: torch.device, before: Path | None
) -> dict[str, Any]:
    """Seconds per image in each way, how many times as long as ``onnx`` the others take, and the size of the model."""
    file = pack.to_bytes(encoding)
    data = {"onnx": model(file)}
    if before is None:
        data["portable"] = model(file, portable=True)
    else:
        data["before"] = exported_by(before, file)
    providers = [f"{'CUDA' if device.type == 'cuda' else 'CPU'}ExecutionProvider"]
    threads = torch.get_num_threads()
    exported = {name: OnnxPack(made, providers, threads=threads) for name, made in data.items()}
    alone = one_image(data["onnx"], providers)
    here = pack.to(device)
    rng = np.random.default_rng(0)

    def pairs() -> np.ndarray[Any, Any]:
        return rng.integers(0, len(pack), batch)

    def loop() -> object:
        return [np.concatenate(both) for both in zip(*(alone(pair) for pair in pairs()), strict=True)]

    def decoding(one: OnnxPack | Pack) -> Callable[[], object]:
        return lambda: one.decode(pairs())

    functions = {name: decoding(one) for name, one in exported.items()}
    if before is None:
        functions |= {"torch": decoding(here), "loop": loop}
    clock = time.perf_counter if before is None else time.process_time
    with torch.no_grad():
        taken = interleaved(functions, repeats, device, seconds=30, clock=clock)
    datasets = Reader(file).manifest.datasets.values()
    return {
        "seconds_per_image": {name: summary([t / batch for t in times]) for name, times in taken.items()},
        "times_longer_than_onnx": {name: ratio(taken[name], taken["onnx"]) for name in taken if name != "onnx"},
        "model_bytes": len(data["onnx"]),
        **{f"{name}_bytes": len(made) for name, made in data.items() if name != "onnx"},
        "stored_bytes": sum(math.prod(d.shape) * ITEMSIZE[d.dtype] for d in datasets),
    }


def table(rows: dict[str, Any], title: str) -> Table:
    """The rows for the terminal."""
    made = Table(title=title, caption="microseconds per image (median); ×: how many times as long as onnx")
    made.add_column("kind", no_wrap=True)
    others = next(iter(rows.values()))["times_longer_than_onnx"] if rows else ()
    for heading in ("onnx", *(cell for name in others for cell in (name, "×")), "model bytes", "÷ stored"):
        made.add_column(heading, justify="right", no_wrap=True)
    for label, row in rows.items():
        times, longer = row["seconds_per_image"], row["times_longer_than_onnx"]
        cells = [f"{times['onnx'].median * 1e6:.1f}"]
        for name in others:
            cells += [f"{times[name].median * 1e6:.1f}", f"{longer[name]:.2f}"]
        made.add_row(label, *cells, f"{row['model_bytes']:,}", f"{row['model_bytes'] / row['stored_bytes']:.3f}")
    return made


@click.command()
@options
@click.option("--image", type=click.Choice(list(IMAGES)), default="cifar", show_default=True, help="Image shape.")
@click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Images in a batch.")
@click.option("--encoding", default="int8", show_default=True, help="Encoding of the pack's tensors.")
@click.option("--only", help="Measure only the decoders whose label contains this.")
@click.option("--before", help="A revision of this repository, whose models are timed instead of the other ways.")
def main(
    device: str,
    threads: int | None,
    repeats: int,
    out: Path | None,
    image: str,
    batch: int,
    encoding: str,
    only: str | None,
    before: str | None,
) -> None:
    """Measure the decode time per image of exported packs, in onnxruntime and in torch."""
    chosen = start(device, threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    runtime = "onnxruntime-gpu" if chosen.type == "cuda" else "onnxruntime"
    environs = environment(chosen) | {name: version(name) for name in (runtime, "onnx")}
    result: dict[str, Any] = {
        "benchmark": "onnx_decode", "batch": batch, "encoding": encoding, "before": before, "environment": environs
    }  # fmt: skip
    rows: dict[str, Any] = {}
    path = out or RESULTS / f"onnx_decode{'_before' if before else ''}-{chosen.type}.json"
    with console.status("") as status, checked_out(before) if before else nullcontext() as folder:
        for label, kind, config in CASES:
            if only is None or only in label:
                status.update(label)
                rows[label] = measure(random_pack(kind, config, image), encoding, batch, repeats, chosen, folder)
                write_json(path, result | {"rows": rows})
    console.print(table(rows, f"Exported {image} images, {encoding}, batch {batch}, {environs['device']}"))
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()

"""Decode time per image of an exported pack: ``OnnxPack`` beside torch, and beside one session call an image.

    python benchmarks/onnx_decode.py [--device cuda] [--threads 1] [--encoding int8]

All three decode the same random pairs of the same pack (256 sources), from pair numbers to images and labels:

- onnx: ``OnnxPack.decode``, one call of onnxruntime a batch.
- torch: ``Pack.decode``.
- loop: the same model, one plain call of onnxruntime an image, and images and labels stacked.

torch and onnxruntime use the same number of threads. Times are medians of calls taken in turns, ratios are medians
over rounds. The size is that of the model beside the bytes of the tensors it was made of (uncompressed).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from _common import RESULTS, environment, interleaved, options, ratio, start, summary, write_json
from decode import CASES, IMAGES
from rich.console import Console
from rich.table import Table

from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats import Reader
from dsetpack.formats.manifest import ITEMSIZE
from dsetpack.onnx import OnnxPack
from dsetpack.onnx.exporter import model
from dsetpack.order import philox

SOURCES = 256


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
    """What decodes a pair by a call of onnxruntime, with nothing of ``OnnxPack`` around it."""
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


def measure(pack: Pack, encoding: str, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Seconds of one image in each way, what the others take over onnx, and the model's size."""
    file = pack.to_bytes(encoding)
    data = model(file)
    providers = [f"{'CUDA' if device.type == 'cuda' else 'CPU'}ExecutionProvider"]
    exported = OnnxPack(data, providers, threads=torch.get_num_threads())
    alone = one_image(data, providers)
    here = pack.to(device)
    rng = np.random.default_rng(0)

    def pairs() -> np.ndarray[Any, Any]:
        return rng.integers(0, len(pack), batch)

    def loop() -> object:
        return [np.concatenate(both) for both in zip(*(alone(pair) for pair in pairs()), strict=True)]

    functions = {"onnx": lambda: exported.decode(pairs()), "torch": lambda: here.decode(pairs()), "loop": loop}
    with torch.no_grad():
        taken = interleaved(functions, repeats, device, seconds=30)
    datasets = Reader(file).manifest.datasets.values()
    return {
        "seconds_per_image": {name: summary([t / batch for t in times]) for name, times in taken.items()},
        "times_longer_than_onnx": {name: ratio(taken[name], taken["onnx"]) for name in ("torch", "loop")},
        "model_bytes": len(data),
        "stored_bytes": sum(math.prod(d.shape) * ITEMSIZE[d.dtype] for d in datasets),
    }


def table(rows: dict[str, Any], title: str) -> Table:
    made = Table(title=title, caption="microseconds per image (median); ×: how many times longer than onnx")
    made.add_column("kind", no_wrap=True)
    for heading in ("onnx", "torch", "×", "loop", "×", "model bytes", "÷ stored"):
        made.add_column(heading, justify="right", no_wrap=True)
    for label, row in rows.items():
        times, longer = row["seconds_per_image"], row["times_longer_than_onnx"]
        cells = [f"{times['onnx'].median * 1e6:.1f}"]
        for name in ("torch", "loop"):
            cells += [f"{times[name].median * 1e6:.1f}", f"{longer[name]:.1f}"]
        made.add_row(label, *cells, f"{row['model_bytes']:,}", f"{row['model_bytes'] / row['stored_bytes']:.3f}")
    return made


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@options
@click.option("--image", type=click.Choice(list(IMAGES)), default="cifar", show_default=True, help="Image shape.")
@click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Images in a batch.")
@click.option("--encoding", default="int8", show_default=True, help="How the pack stores its tensors.")
@click.option("--only", help="Only the cases whose name contains this.")
def main(
    device: str,
    threads: int | None,
    repeats: int,
    out: Path | None,
    image: str,
    batch: int,
    encoding: str,
    only: str | None,
) -> None:
    chosen = start(device, threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    runtime = "onnxruntime-gpu" if chosen.type == "cuda" else "onnxruntime"
    environs = environment(chosen) | {name: version(name) for name in (runtime, "onnx")}
    result: dict[str, Any] = {
        "benchmark": "onnx_decode", "batch": batch, "encoding": encoding, "environment": environs
    }  # fmt: skip
    rows: dict[str, Any] = {}
    with console.status("") as status:
        for label, kind, config in CASES:
            if only is None or only in label:
                status.update(label)
                rows[label] = measure(random_pack(kind, config, image), encoding, batch, repeats, chosen)
    console.print(table(rows, f"Exported {image} images, {encoding}, batch {batch}, {environs['device']}"))
    path = out or RESULTS / f"onnx_decode-{chosen.type}.json"
    write_json(path, result | {"rows": rows})
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()

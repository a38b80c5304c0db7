"""Seconds of a training step with rehearsal from a memory, compared with rehearsal from decoded tensors in RAM.

    python benchmarks/measure/replay_cost.py [--device cuda]

A step trains ConvNet-3 (width 128) on 128 new images and 128 rehearsed ones, 3×32×32 each, from a memory of 100 classes
in 5 tasks. The peer does not use a memory: it indexes two tensors, all decoded images and their labels, at random.
Steps are taken in turns, so that a busy machine slows both alike.

The JSON file holds, for every kind of memory (``memories``): its images and bytes, the seconds of a step from either
source, their ratio (the median over rounds; the goal is 1.05 at most), the seconds to make the rehearsed images of a
batch alone, and what decoding adds to a step by that measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from benchmarks import common
from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.kinds import kind_config
from dsetpack.loading.loader import PackLoader
from dsetpack.loading.stream import Batch
from dsetpack.replay import MixedLoader, ReplayMemory
from dsetpack.trainers.networks import network

CLASSES, TASKS, BATCH, IMAGE = 100, 5, 128, (3, 32, 32)
GOAL = 1.05
"""How many times as long a step from the memory may take."""
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "kfs": ("kfs", {"decoders": 8, "channels": (12, 9, 6), "kernel": 2}, "product"),
    "haba": ("haba", {"decoders": 5, "channels": 3, "depth": 1}, "paired"),
    "images": ("images", {}, "product"),
}


def memory_of(name: str, per_class: int = 20) -> ReplayMemory:
    """A memory of random values, which cost the same to decode as learned ones. All tasks of KFS share one bank."""
    kind, settings, rule = KINDS[name]
    config = kind_config(kind)(**settings)
    torch.manual_seed(0)
    banks = [decoder(kind, config, IMAGE, CLASSES).requires_grad_(False).eval() for _ in range(TASKS)]
    card = Card(title=name, classes=tuple(map(str, range(CLASSES))), shape=IMAGE, epoch_rule=rule)  # type: ignore[arg-type]
    memory = ReplayMemory("50MB", encoding="int8")
    for task in range(TASKS):
        labels = torch.arange(task * CLASSES // TASKS, (task + 1) * CLASSES // TASKS).repeat_interleave(per_class)
        sources = torch.randn(len(labels), *config.source_shape(IMAGE))
        memory.add(Pack(card, [Part(kind, config, banks[0 if kind == "kfs" else task], sources, labels)]))
    return memory


def stepper(batches: Iterator[Batch], device: torch.device) -> Callable[[], None]:
    """A function that takes one training step per call."""
    model = network("convnet3", IMAGE, CLASSES, 128, seed=0).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        x, y = next(batches)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def new_data(device: torch.device) -> PackLoader:
    """Batches of new images."""
    new = Pack.from_arrays(torch.rand(10 * BATCH, *IMAGE), torch.arange(10 * BATCH) % CLASSES, classes=CLASSES)
    return new.to(device).loader(BATCH, seed=0, drop_last=True)


def from_memory(pack: Pack, device: torch.device) -> Iterator[Batch]:
    """Batches of new and rehearsed images by dsetpack's loader."""
    loader = MixedLoader(new_data(device), pack, 1.0, seed=0)
    while True:
        yield from loader


def from_tensors(images: Tensor, labels: Tensor, device: torch.device) -> Iterator[Batch]:
    """Batches as one would write them by hand."""
    loader = new_data(device)
    while True:
        for x, y in loader:
            index = torch.randint(len(images), (len(x),), device=device)
            yield torch.cat([x, images[index]]), torch.cat([y, labels[index]])


def measure(name: str, device: torch.device, repeats: int, seconds: float) -> dict[str, Any]:
    """Measure steps from the memory and from decoded tensors, and making the rehearsed images alone."""
    memory = memory_of(name)
    pack = memory.pack.to(device)
    with torch.no_grad():
        images, labels = pack.decode(range(len(pack)))
    steps = {
        "decoded": stepper(from_tensors(images, labels, device), device),
        "memory": stepper(from_memory(pack, device), device),
    }
    taken = common.interleaved(steps, repeats, device, seconds)
    pairs = torch.randperm(len(pack))[:BATCH]
    index = pairs.to(device)
    with torch.no_grad():
        makers = {"decoded": lambda: (images[index], labels[index]), "memory": lambda: pack.decode(pairs.numpy())}
        batch = common.interleaved(makers, 60, device, seconds)
    step, made = ({what: common.summary(values) for what, values in some.items()} for some in (taken, batch))
    return {
        "images": len(pack),
        "bytes": memory.bytes,
        "decoded_bytes": len(pack) * 4 * 3 * 32 * 32,
        "step": step,
        "ratio": common.ratio(taken["memory"], taken["decoded"]),
        "batch": made,
        "added_by_decoding": (made["memory"].median - made["decoded"].median) / step["decoded"].median,
    }


@click.command()
@common.options
@click.option("--seconds", default=60.0, show_default=True, help="Longest time of one measurement.")
def main(device: str, threads: int | None, repeats: int, out: Path | None, seconds: float) -> None:
    """Measure a training step with rehearsal from a memory, compared with rehearsal from decoded tensors."""
    chosen = common.start(device, threads)
    results: dict[str, Any] = {"environment": common.environment(chosen), "goal": GOAL, "memories": {}}
    for name in KINDS:
        results["memories"][name] = found = measure(name, chosen, repeats, seconds)
        verdict = "met" if found["ratio"] <= GOAL else "missed"
        click.echo(
            f"{name}: {found['images']:,} images in {found['bytes']:,} bytes; a step takes "
            f"{1e3 * found['step']['decoded'].median:.0f} ms from tensors, {found['ratio']:.3f} times that from the "
            f"memory (goal {GOAL}: {verdict}); decoding alone adds {found['added_by_decoding']:+.2%}"
        )
    common.write_json(out or common.RESULTS / f"replay_cost-{chosen.type}.json", results)


if __name__ == "__main__":
    main()

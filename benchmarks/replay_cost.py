"""What rehearsal from a memory costs beside rehearsal from tensors in RAM that are decoded already.

    python benchmarks/replay_cost.py [--device cuda]

A training step of ConvNet-3 (width 128) on 3×32×32 images: a batch of 128 new ones and 128 rehearsed, from a memory of
100 classes in 5 tasks. The peer indexes two tensors, all decoded images and their labels, in a random order, and knows
nothing of memories. Steps run in turns, so that a busy machine slows all alike; the ratio is the median over rounds.
Goal: the memory adds at most 5%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _common
import click
import torch
from torch import Tensor, nn

from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.kinds import kind_config
from dsetpack.loading.loader import PackLoader
from dsetpack.loading.stream import Batch
from dsetpack.replay import MixedLoader, ReplayMemory
from dsetpack.trainers.networks import network

CLASSES, TASKS, BATCH, IMAGE = 100, 5, 128, (3, 32, 32)
GOAL = 1.05
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "kfs": ("kfs", {"decoders": 8, "channels": (12, 9, 6), "kernel": 2}, "product"),
    "haba": ("haba", {"decoders": 5, "channels": 3, "depth": 1}, "paired"),
    "images": ("images", {}, "product"),
}


def memory_of(name: str, per_class: int = 20) -> ReplayMemory:
    """Random values: what they decode costs the same as learned ones. Tasks of KFS share one bank."""
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
    """One training step a call."""
    model = network("convnet3", IMAGE, CLASSES, 128, seed=0).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        x, y = next(batches)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def new_data(device: torch.device) -> PackLoader:
    new = Pack.from_arrays(torch.rand(10 * BATCH, *IMAGE), torch.arange(10 * BATCH) % CLASSES, classes=CLASSES)
    return new.to(device).loader(BATCH, seed=0, drop_last=True)


def from_memory(pack: Pack, device: torch.device) -> Iterator[Batch]:
    loader = MixedLoader(new_data(device), pack, 1.0, seed=0)
    while True:
        yield from loader


def from_tensors(images: Tensor, labels: Tensor, device: torch.device) -> Iterator[Batch]:
    """As one writes it by hand."""
    loader = new_data(device)
    while True:
        for x, y in loader:
            index = torch.randint(len(images), (len(x),), device=device)
            yield torch.cat([x, images[index]]), torch.cat([y, labels[index]])


def measure(name: str, device: torch.device, repeats: int, seconds: float) -> dict[str, Any]:
    """Seconds of a step from the memory and from decoded tensors, and of making rehearsed images alone."""
    memory = memory_of(name)
    pack = memory.pack.to(device)
    with torch.no_grad():
        images, labels = pack.decode(range(len(pack)))
    steps = {
        "decoded": stepper(from_tensors(images, labels, device), device),
        "memory": stepper(from_memory(pack, device), device),
    }
    taken = _common.interleaved(steps, repeats, device, seconds)
    pairs = torch.randperm(len(pack))[:BATCH]
    index = pairs.to(device)
    with torch.no_grad():
        makers = {"decoded": lambda: (images[index], labels[index]), "memory": lambda: pack.decode(pairs.numpy())}
        batch = _common.interleaved(makers, 60, device, seconds)
    step, made = ({what: _common.summary(values) for what, values in some.items()} for some in (taken, batch))
    return {
        "images": len(pack),
        "bytes": memory.bytes,
        "decoded_bytes": len(pack) * 4 * 3 * 32 * 32,
        "step": step,
        "ratio": _common.ratio(taken["memory"], taken["decoded"]),
        "batch": made,
        "added_by_decoding": (made["memory"].median - made["decoded"].median) / step["decoded"].median,
    }


@click.command()
@_common.options
@click.option("--seconds", default=60.0, show_default=True, help="At most, for each measurement.")
def main(device: str, threads: int | None, repeats: int, out: Path | None, seconds: float) -> None:
    """Measure every kind of memory."""
    chosen = _common.start(device, threads)
    results: dict[str, Any] = {"environment": _common.environment(chosen), "goal": GOAL, "memories": {}}
    for name in KINDS:
        results["memories"][name] = found = measure(name, chosen, repeats, seconds)
        verdict = "met" if found["ratio"] <= GOAL else "missed"
        click.echo(
            f"{name}: {found['images']:,} images in {found['bytes']:,} bytes; a step takes "
            f"{1e3 * found['step']['decoded'].median:.0f} ms from tensors, {found['ratio']:.3f} times that from the "
            f"memory (goal {GOAL}: {verdict}); decoding alone adds {found['added_by_decoding']:+.2%}"
        )
    _common.write_json(out or _common.RESULTS / f"replay_cost-{chosen.type}.json", results)


if __name__ == "__main__":
    main()

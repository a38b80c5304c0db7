"""Decode time per image, by kind: random pairs and the full product, beside three ways to do without dsetpack.

    python benchmarks/decode.py [--device cuda] [--threads 1]

The peers, all on the same sources and decoders, at the same batch size:

- loop: the tightest per-item loop: one ``torch.nn`` module a decoder, called on one image after the other, no autograd.
- loader: the released HaBa way, a ``DataLoader`` (no workers) over a dataset whose ``__getitem__`` draws a decoder and
  runs it on one source; collating is included. Autograd is on, since the released evaluation leaves it on; "loader,
  no grad" is the same without.
- copy: no decoding at all: rows of an already decoded tensor are gathered into a batch.

Times are medians of calls taken in turns, ratios are medians over rounds. Drawing the pairs is part of every time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from _common import RESULTS, environment, interleaved, options, ratio, start, summary, write_json
from _plain import plain
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dsetpack.decoders import Decoder, decoder

IMAGES = {"cifar": (3, 32, 32), "mnist": (1, 28, 28)}
LOADERS = ("loader", "loader, no grad")
TARGET = 4.0  # times faster than the released HaBa way at batch 256

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("images", "images", {}),
    ("upsample 2×2", "upsample", {"factor": 2}),
    ("upsample 3×3", "upsample", {"factor": 3}),
    ("haba depth 0", "haba", {"decoders": 5, "depth": 0}),
    ("haba depth 1", "haba", {"decoders": 5}),
    ("haba depth 1, shared", "haba", {"decoders": 5, "shared": True}),
    ("haba depth 2", "haba", {"decoders": 5, "depth": 2}),
    ("haba depth 3", "haba", {"decoders": 5, "depth": 3}),
    ("haba as released", "haba", {"decoders": 5, "form": "released"}),
    ("kfs Low-R", "kfs", {"decoders": 8, "channels": (12, 9, 6)}),
    ("kfs High-R", "kfs", {"decoders": 8, "channels": (9, 6)}),
    ("kfs Low-R, kernel 4", "kfs", {"decoders": 8, "channels": (12, 9, 6), "kernel": 4}),
    ("generator", "generator", {}),
]


class PerItem(Dataset[tuple[Tensor, int]]):
    """The released HaBa way: one source, one random decoder, one image a call."""

    def __init__(self, sources: Tensor, decoders: nn.ModuleList) -> None:
        self.sources = sources
        self.decoders = decoders

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: Tensor = self.decoders[random.randint(0, len(self.decoders) - 1)](self.sources[index].unsqueeze(0))[0]
        return image, index


def ways(kind: str, bank: Decoder, batch: int) -> dict[str, Callable[[], object]]:
    """Every way to make a batch of images, by name."""
    device = next(bank.parameters(), torch.empty(0)).device
    sources = torch.randn(batch, *bank.source_shape, device=device)
    count, single = bank.bank_size, plain(kind, bank)
    with torch.no_grad():
        decoded = bank.product(sources)
        alone = torch.stack([module(sources[:4]) for module in single], 1)
    torch.testing.assert_close(decoded[:4], alone, rtol=1e-2, atol=1e-3)
    decoded = decoded.flatten(0, 1)
    loader = DataLoader(PerItem(sources, single), batch_size=batch, shuffle=True)

    def pairs() -> object:
        return bank(sources, torch.randint(count, (batch,)), torch.randperm(batch))

    def loop() -> object:
        rows, numbers = torch.randperm(batch).tolist(), torch.randint(count, (batch,)).tolist()
        return torch.cat([single[k](sources[i : i + 1]) for i, k in zip(rows, numbers, strict=True)])

    def copy() -> object:
        return decoded[torch.randint(len(decoded), (batch,)).to(device)]

    def released() -> object:
        with torch.enable_grad():
            return next(iter(loader))

    names: dict[str, Callable[[], object]] = {"pairs": pairs, "product": lambda: bank.product(sources), "copy": copy}
    return names | {"loop": loop, "loader": released, "loader, no grad": lambda: next(iter(loader))}


def measure(kind: str, config: dict[str, Any], image: str, batch: int, repeats: int, device: torch.device) -> Any:
    """Seconds of one image in every way, and what the peers take over ours."""
    torch.manual_seed(0)
    bank = decoder(kind, config, IMAGES[image], 10).to(device)
    with torch.no_grad():
        taken = interleaved(ways(kind, bank, batch), repeats, device, seconds=40)
    each = {name: [t / batch / (bank.bank_size if name == "product" else 1) for t in v] for name, v in taken.items()}
    return {
        "kind": kind,
        "config": config,
        "image": IMAGES[image],
        "decoders": bank.bank_size,
        "seconds_per_image": {name: summary(times) for name, times in each.items()},
        "times_longer_than_pairs": {name: ratio(each[name], each["pairs"]) for name in each if name != "pairs"},
    }


def table(rows: dict[str, Any], title: str) -> Table:
    made = Table(title=title, caption="microseconds per image (median); ×: how many times longer than random pairs")
    made.add_column("kind", no_wrap=True)
    for heading in ("K", "pairs", "product", "copy", "loop", "×", "loader", "×", "no grad", "×"):
        made.add_column(heading, justify="right", no_wrap=True)
    for label, row in rows.items():
        times, longer = row["seconds_per_image"], row["times_longer_than_pairs"]
        cells = [_digits(times[name].median * 1e6) for name in ("pairs", "product", "copy")]
        for name in ("loop", *LOADERS):
            cells += [_digits(times[name].median * 1e6), f"{longer[name]:.1f}"]
        made.add_row(label, str(row["decoders"]), *cells)
    return made


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@options
@click.option("--image", type=click.Choice(list(IMAGES)), default="cifar", show_default=True, help="Image shape.")
@click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Images in a batch.")
@click.option("--only", help="Only the cases whose name contains this.")
def main(
    device: str, threads: int | None, repeats: int, out: Path | None, image: str, batch: int, only: str | None
) -> None:
    chosen = start(device, threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    result: dict[str, Any] = {"benchmark": "decode", "batch": batch, "environment": environment(chosen)}
    rows: dict[str, Any] = {}
    with console.status("") as status:
        for label, kind, config in CASES:
            if only is None or only in label:
                status.update(label)
                rows[label] = measure(kind, config, image, batch, repeats, chosen)
    console.print(table(rows, f"Decoding {image} images, batch {batch}, {result['environment']['device']}"))
    released = rows.get("haba as released")
    if released:
        times = released["times_longer_than_pairs"]["loader"]
        console.print(f"The released HaBa way takes {times:.1f} times longer (target: at least {TARGET:.0f}).")
        result["released_haba_way_times_longer"] = times
    path = out or RESULTS / f"decode-{chosen.type}.json"
    write_json(path, result | {"rows": rows})
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()

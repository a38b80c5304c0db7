"""Decode time per image by decoder kind, compared with three ways to make images without dsetpack.

    python benchmarks/measure/decode.py [--device cuda] [--threads 1]

dsetpack decodes random pairs of sources and decoders (``pairs``), and the product of all sources with all decoders
(``product``). The peers use the same sources and decoders at the same batch size:

- loop: the tightest loop over single images: one ``torch.nn`` module per decoder, called on one image after the other,
  without autograd.
- loader: the way of the released HaBa code: a ``DataLoader`` (without workers) over a dataset whose ``__getitem__``
  draws a decoder and runs it on one source. Collating is included. Autograd is on, since the released evaluation leaves
  it on; "loader, no grad" is the same without autograd.
- copy: no decoding at all: a batch is gathered from the rows of a tensor that was decoded before.

The JSON file holds, for every decoder (``rows``), the seconds per image in each way, and how many times as long as
``pairs`` the other ways take. Times are medians of calls that were taken in turns; ratios are medians over the rounds.
Every time includes drawing the pairs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.cases.decoders import CASES, IMAGES
from benchmarks.cases.plain.decoders import modules_of
from benchmarks.common import RESULTS, environment, interleaved, options, ratio, start, summary, write_json
from dsetpack.decoders import Decoder, decoder

LOADERS = ("loader", "loader, no grad")
TARGET = 4.0
"""How many times as long the released HaBa way should take at least, at batch 256."""


class PerItem(Dataset[tuple[Tensor, int]]):
    """The released HaBa way: every call decodes one source with one random decoder."""

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
    count, single = bank.bank_size, modules_of(kind, bank)
    decoded = checked_product(bank, single, sources).flatten(0, 1)
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


def checked_product(bank: Decoder, single: nn.ModuleList, sources: Tensor) -> Tensor:
    """All sources decoded by all decoders.

    Raises:
        AssertionError: if the plain modules decode the first sources to other images.
    """
    with torch.no_grad():
        decoded = bank.product(sources)
        alone = torch.stack([module(sources[:4]) for module in single], 1)
    torch.testing.assert_close(decoded[:4], alone, rtol=1e-2, atol=1e-3)
    return decoded


def measure(kind: str, config: dict[str, Any], image: str, batch: int, repeats: int, device: torch.device) -> Any:
    """Seconds per image in every way, and how many times as long as ``pairs`` the other ways take."""
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
    """The rows for the terminal."""
    made = Table(title=title, caption="microseconds per image (median); ×: how many times as long as random pairs")
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


@click.command()
@options
@click.option("--image", type=click.Choice(list(IMAGES)), default="cifar", show_default=True, help="Image shape.")
@click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Images in a batch.")
@click.option("--only", help="Measure only the decoders whose label contains this.")
def main(
    device: str, threads: int | None, repeats: int, out: Path | None, image: str, batch: int, only: str | None
) -> None:
    """Measure the decode time per image of every decoder kind, and three ways to make images without dsetpack."""
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
        console.print(f"The released HaBa way takes {times:.1f} times as long (target: at least {TARGET:.0f}).")
        result["released_haba_way_times_longer"] = times
    path = out or RESULTS / f"decode-{chosen.type}.json"
    write_json(path, result | {"rows": rows})
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()

"""Packs made with ConvNet-3, tested on other architectures, beside random real images in as many bytes.

    python benchmarks/cross.py --root FOLDER [--pack FILE ...] [--seeds 2]

Each (set, architecture) is one JSON file in ``results/cross-cpu``, written when done, skipped when there. All
sets train for as many steps as the pack's recipe says, under the card's augmentation; random images at the card's
learning rate. Networks are narrow on a CPU: the widths stand in the rows.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import _common
import click
from rich.console import Console
from rich.table import Table

import dsetpack
from dsetpack.pack.pack import Pack
from dsetpack.trainers.baselines import images_within, random_pack
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.evaluate import accuracies

PACKS = sorted((Path(__file__).parents[1] / "examples" / "packs").glob("*-ipc1.dpk"))
NETS = {"convnet3": 32, "resnet10": 16, "vgg11": 16, "alexnet": 32, "resnetap10": 16, "resnet18": 16}
"""Architectures and their widths on a CPU; on a GPU the papers' own."""


def measured(pack: Pack, made: Pack, test: ImageData, arch: str, width: int | None, seeds: int) -> list[float]:
    """Accuracies of networks trained on ``made`` (the pack, or its baseline) as the pack's card says."""
    assert pack.card.recipe is not None
    options = {"recipe": pack.card.recipe, "augmentation": pack.card.augmentation}
    return accuracies(made, test, arch=arch, width=width, seeds=seeds, **options)


@click.command()
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder that holds the data.")
@click.option(
    "--pack", "files", multiple=True, type=click.Path(path_type=Path), help="Packs; by default the examples of IPC 1."
)
@click.option("--arch", "nets", multiple=True, type=click.Choice(list(NETS)), help="By default all.")
@click.option("--seeds", default=2, show_default=True, help="Networks for each.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute.")
@click.option("--threads", type=int, help="Threads of torch; by default its own choice.")
def main(
    root: str, files: tuple[Path, ...], nets: tuple[str, ...], seeds: int, device: str, threads: int | None
) -> None:
    environment = _common.environment(_common.start(device, threads))
    folder = _common.RESULTS / f"cross-{device}"
    for arch in nets or tuple(NETS):
        width = NETS[arch] if device == "cpu" else None
        for file in files or PACKS:
            pack = dsetpack.open(file, device=device)
            assert pack.card.provenance.dataset is not None
            train, test = (load(pack.card.provenance.dataset, root, split) for split in ("train", "test"))
            per_class = images_within(train, file.stat().st_size)
            for name, made in {
                file.stem: pack,
                f"random-{file.stem}": random_pack(train, per_class, 0, pack.space).to(device),
            }.items():
                path = folder / f"{name}-{arch}.json"
                if not path.exists():
                    found = measured(pack, made, test, arch, width, seeds)
                    row = {"set": name, "pack": file.stem, "bytes": file.stat().st_size, "per_class": per_class}
                    _common.write_json(
                        path, {"environment": environment, **row, "arch": arch, "width": width, "accuracies": found}
                    )
    show([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])


def show(rows: list[dict[str, Any]]) -> None:
    """The rows on the terminal: a line a set, a column a network."""
    nets = [arch for arch in NETS if any(row["arch"] == arch for row in rows)]
    table = Table("set", *nets)
    for name in dict.fromkeys(row["set"] for row in rows):
        found = {row["arch"]: f"{statistics.fmean(row['accuracies']):.1%}" for row in rows if row["set"] == name}
        table.add_row(name, *(found.get(arch, "") for arch in nets))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

"""Accuracy of packs made with ConvNet-3 on other architectures, compared with random real images in as many bytes.

    python benchmarks/measure/cross.py --root FOLDER [--pack FILE ...] [--seeds 2]

Every network trains by the recipe and the augmentation of the pack's card; random images use the card's learning rate,
too. Networks are narrow on a CPU.

Each pair of a set and an architecture is one JSON file in ``results/cross-DEVICE``: the accuracies of all seeds, the
width of the network, the bytes of the pack, and how many random images per class fit into them. A file is written when
its pair is done; a pair whose file exists is skipped.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

import dsetpack
from benchmarks import common
from dsetpack.pack.pack import Pack
from dsetpack.trainers.baselines import images_within, random_pack
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.evaluate import accuracies

FILE = click.Path(path_type=Path)
PACKS = sorted((Path(__file__).parents[2] / "examples" / "packs").glob("*-ipc1.dpk"))
NETS = {"convnet3": 32, "resnet10": 16, "vgg11": 16, "alexnet": 32, "resnetap10": 16, "resnet18": 16}
"""Architectures and their widths on a CPU; on a GPU they have the papers' widths."""


def measure(
    file: Path, arch: str, root: str, seeds: int, device: str, folder: Path, environment: dict[str, Any]
) -> None:
    """Test a pack and its random images on one architecture; write the rows that are missing."""
    width = NETS[arch] if device == "cpu" else None
    pack = dsetpack.open(file, device=device)
    assert pack.card.provenance.dataset is not None
    train, test = (load(pack.card.provenance.dataset, root, split) for split in ("train", "test"))
    size = file.stat().st_size
    per_class = images_within(train, size)
    random = random_pack(train, per_class, 0, pack.space).to(device)
    for name, made in {file.stem: pack, f"random-{file.stem}": random}.items():
        path = folder / f"{name}-{arch}.json"
        if not path.exists():
            found = trained(pack, made, test, arch, width, seeds)
            row = {"set": name, "pack": file.stem, "bytes": size, "per_class": per_class, "arch": arch, "width": width}
            common.write_json(path, {"environment": environment, **row, "accuracies": found})


def trained(pack: Pack, made: Pack, test: ImageData, arch: str, width: int | None, seeds: int) -> list[float]:
    """Accuracies of networks trained on ``made`` (the pack or its random images) as the card of ``pack`` says."""
    assert pack.card.recipe is not None
    options: dict[str, Any] = {"recipe": pack.card.recipe, "augmentation": pack.card.augmentation}
    return accuracies(made, test, arch=arch, width=width, seeds=seeds, **options)


@click.command()
@click.option("--root", envvar="DSETPACK_DATA", required=True, help="Folder with the data sets.")
@click.option("--pack", "files", multiple=True, type=FILE, help="Packs to test; by default the examples of IPC 1.")
@click.option("--arch", "nets", multiple=True, type=click.Choice(list(NETS)), help="Architectures; by default all.")
@click.option("--seeds", default=2, show_default=True, help="Networks per set and architecture.")
@click.option("--device", default="cpu", show_default=True, help="PyTorch device, for example cpu or cuda.")
@click.option("--threads", type=int, help="CPU threads of PyTorch; by default PyTorch chooses.")
@click.option("--out", type=FILE, help="Folder for the JSON files.")
def main(
    root: str,
    files: tuple[Path, ...],
    nets: tuple[str, ...],
    seeds: int,
    device: str,
    threads: int | None,
    out: Path | None,
) -> None:
    """Test packs on several architectures, compared with random real images in as many bytes."""
    environment = common.environment(common.start(device, threads))
    folder = out or common.RESULTS / f"cross-{device}"
    for arch in nets or tuple(NETS):
        for file in files or PACKS:
            measure(file, arch, root, seeds, device, folder, environment)
    show([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows: a line per set, a column per network."""
    nets = [arch for arch in NETS if any(row["arch"] == arch for row in rows)]
    table = Table("set", *nets)
    for name in dict.fromkeys(row["set"] for row in rows):
        found = {row["arch"]: f"{statistics.fmean(row['accuracies']):.1%}" for row in rows if row["set"] == name}
        table.add_row(name, *(found.get(arch, "") for arch in nets))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

"""Class-incremental learning from a memory alone: 5 stages of 2 classes, all methods at the same stored bytes.

    python benchmarks/measure/continual.py --root FOLDER --cpu-scale [--only kfs] [--seeds 3]
    python benchmarks/measure/continual.py --cpu-scale --render [--plot docs/continual.png]

As in DM, HaBa and KFS (its section 4, "Continual learning"), each stage is distilled from its own images only. After
each stage, a network is trained from scratch on the memory so far, and tested on the test images of all classes seen.
The file of a memory (``ReplayMemory``, int8) may have the bytes of 20 uint8 images for each class seen. Real images are
stored as 8-bit pixels and compressed, so that about 35 images of Fashion-MNIST fit. ``uncompressed`` is what the papers
compare with: 20 random images per class. A seed decides the order of the classes and everything else that is random.

Each combination of a method, a network and a seed is one JSON file in ``results/continual-DATA-SCALE``. It holds the
settings of the run and, for each stage (``stages``), the classes, the accuracy, and the bytes and images of the memory.
A file is written when its combination is done, and a combination whose file exists is skipped. A run that was stopped
thus continues, and several processes can share the work by ``--only``. A file of a run with other settings is refused.
Memories are kept in ``runs/continual``, in folders that are named by a digest of everything the memories depend on.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import common
from benchmarks.cases.continual import METHODS, NETS, SCALES
from benchmarks.cases.memories import Work, memory_after, only
from benchmarks.tables.curves import draw
from dsetpack import Augmentation, Pack, Recipe
from dsetpack.replay.compatible import in_space
from dsetpack.spaces import Normalized
from dsetpack.trainers.data import load
from dsetpack.trainers.evaluate import accuracy
from dsetpack.trainers.networks import network
from dsetpack.trainers.seeds import derive
from dsetpack.training.train import train

RUNS = Path("runs/continual")
DSA = Augmentation(ops=("color", "crop", "cutout", "flip", "scale", "rotate"))


def trained(work: Work, pack: Pack, net: str, seed: int) -> tuple[torch.nn.Module, Any]:
    """Train a network from scratch on a pack.

    Returns:
        The network and the pixel space it expects; like all spaces that methods make, it is normalized.
    """
    kept = pack if pack.card.space.kind != "raw" else normalized(pack)
    shape, classes, width = pack.card.shape, len(pack.card.classes), work.scale.widths.get(net)
    model = network(net, shape, classes, width, seed=derive(seed, "weights"))
    schedule = Recipe(lr=0.01, batch_size=work.scale.batch, steps=work.scale.steps, milestones=(2 / 3, 5 / 6))
    moved = kept.to(work.device)
    augmentation = DSA if work.data.name not in ("mnist", "svhn") else DSA.model_copy(update={"ops": ("color", "crop")})
    train(model, moved, recipe=schedule, augmentation=augmentation, seed=derive(seed, "order"), device=work.device)
    return model, moved.space


def normalized(pack: Pack) -> Pack:
    """Convert a pack of raw images to the normalized space of its own images, the only ones a learner knows."""
    return in_space(pack, Normalized.fit(torch.cat([part.sources.clamp(0, 1) for part in pack.parts])))


def row(work: Work, method: str, net: str, seed: int) -> dict[str, Any]:
    """Measure one row: the accuracy on the classes seen, after each stage."""
    found, seconds, seen = [], dict[str, float](), list[int]()
    for stage, classes in enumerate(work.order(seed)):
        seen += classes
        pack, size = remembered(work, method, seed, stage, seen, seconds)
        began = time.perf_counter()
        model, space = trained(work, pack, net, derive(seed, method, stage))
        test = only(work.test, seen).to(work.device)
        found.append(
            {
                "classes": list(classes),
                "accuracy": accuracy(model, test, space),
                "bytes": size,
                "budget": work.budget(len(seen)),
                "images": len(pack),
                "train_seconds": time.perf_counter() - began,
            }
        )
        last = found[-1]
        click.echo(
            f"{method} {net} seed {seed} stage {stage}: {last['accuracy']:.1%} {size:,} bytes {len(pack)} images"
        )
    return {
        "method": method,
        "net": net,
        "seed": seed,
        "data": work.data.name,
        **work.scale.protocol(method, net),
        "stage_seconds": seconds,
        "stages": found,
        "environment": common.environment(work.device),
    }


def remembered(
    work: Work, method: str, seed: int, stage: int, seen: Sequence[int], log: dict[str, float]
) -> tuple[Pack, int]:
    """What a network learns from after a stage, and its bytes; ``log`` gets the seconds of making it."""
    if method == "all":
        own = only(work.data, seen)
        return Pack.from_arrays(own.images, own.labels, classes=own.classes), own.images.numel()
    memory = memory_after(work, method, seed, stage, log)
    return memory.pack, work.budget(len(seen)) if method == "uncompressed" else memory.bytes


def there(path: Path, protocol: Mapping[str, Any]) -> bool:
    """Whether a row is there.

    Raises:
        click.UsageError: if it was measured with other settings.
    """
    if not path.exists():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    for name, value in json.loads(json.dumps(protocol)).items():
        if found.get(name) != value:
            raise click.UsageError(
                f"{path} was measured with {name} {found.get(name)!r}, here it is {value!r}: remove it"
            )
    return True


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def last_accuracies(rows: Sequence[Mapping[str, Any]], method: str, net: str) -> list[float]:
    """The accuracy of each seed after the last stage."""
    return [r["stages"][-1]["accuracy"] for r in rows if (r["method"], r["net"]) == (method, net)]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows."""
    table = Table("method", *NETS, "bytes", "images")
    for method in METHODS:
        own = [r for r in rows if r["method"] == method]
        if own:
            cells = [_spread(last_accuracies(rows, method, net)) for net in NETS]
            last = own[0]["stages"][-1]
            table.add_row(method, *cells, f"{last['bytes']:,}", f"{last['images']:,}")
    Console().print(table)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.fmean(values):.1%}" + (f" ± {statistics.stdev(values):.1%}" if len(values) > 1 else "")


@click.command()
@click.option("--data", default="fashion-mnist", show_default=True, help="Name of a data set, for example cifar10.")
@click.option("--root", envvar="DSETPACK_DATA", help="Folder with the data sets.")
@click.option("--only", "methods", multiple=True, type=click.Choice(METHODS), help="Method to run; may be repeated.")
@click.option("--net", "nets", multiple=True, type=click.Choice(NETS), help="Network to train; may be repeated.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Number of orders of the classes.")
@click.option("--cpu-scale", "scale", flag_value="cpu", help="Narrow networks and short schedules.")
@click.option(
    "--full-scale", "scale", flag_value="full", default="full", help="Networks of the papers' size; needs a GPU."
)
@click.option("--smoke", "scale", flag_value="smoke", help="A few steps of everything, to see that it runs.")
@click.option("--device", default="cpu", show_default=True, help="PyTorch device, for example cpu or cuda.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of PyTorch; by default PyTorch chooses.")
@click.option("--render", is_flag=True, help="Run nothing: show what is there.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves (needs matplotlib).")
@click.option("--runs", default=RUNS, show_default=True, type=click.Path(path_type=Path), help="Folder for memories.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the JSON files.")
def main(
    data: str,
    root: str | None,
    methods: tuple[str, ...],
    nets: tuple[str, ...],
    seeds: int,
    scale: str,
    device: str,
    threads: int | None,
    render: bool,
    plot: Path | None,
    runs: Path,
    out: Path | None,
) -> None:
    """Measure the missing rows, and show all rows that are there."""
    folder = out or common.RESULTS / f"continual-{data}-{scale}"
    if not render:
        chosen = common.start(device, threads)
        work = Work(load(data, root), load(data, root, split="test"), SCALES[scale], runs, chosen)
        for seed in range(seeds):
            for method in methods or METHODS:
                for net in nets or NETS:
                    path = folder / f"{method}-{net}-{seed}.json"
                    if not there(path, work.scale.protocol(method, net)):
                        common.write_json(path, row(work, method, net, seed))
    if not (rows := rows_of(folder)):
        raise click.UsageError(f"no rows in {folder}; --cpu-scale, --data and --out choose the folder")
    show(rows)
    if plot is not None:
        draw(rows, plot)


if __name__ == "__main__":
    main()

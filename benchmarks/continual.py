"""Class-incremental learning from a memory alone: 5 stages of 2 classes, all methods at the same stored bytes.

    python benchmarks/continual.py --root FOLDER --cpu-scale [--only kfs] [--seeds 3]
    python benchmarks/continual.py --cpu-scale --render [--plot docs/continual.png]

As in DM, HaBa and KFS (its section 4, "Continual learning"): each stage is distilled from its own images only; after
each stage a network is trained from scratch on the accumulated memory, and tested on the test images of all classes
seen. The memory may have the bytes of 20 uint8 images for each class seen, as a whole file (``ReplayMemory``, int8).
Real images are stored as 8-bit pixels, and compress: about 35 of Fashion-MNIST fit. ``uncompressed`` is what the papers
compare with: 20 random images a class. A seed is an order of the classes, and the seed of all the rest.

Every (method, network, seed) is a JSON file, written when it is done and skipped when it is there; so a run that was
stopped goes on, and several processes may share the work by ``--only``. One of other settings is refused. Memories are
kept in ``runs/continual``, in folders that are named by what they depend on.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common
import click
import torch
from rich.console import Console
from rich.table import Table

from dsetpack import Augmentation, Pack, Recipe
from dsetpack.replay import ReplayMemory
from dsetpack.spaces import Normalized
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.evaluate import accuracy
from dsetpack.trainers.networks import network
from dsetpack.trainers.recipe import load_recipe
from dsetpack.trainers.seeds import derive, generator
from dsetpack.trainers.stages import StageData
from dsetpack.training.train import train

RUNS = Path("runs/continual")
NETS = ("convnet3", "resnet10")
DISTILLED = ("kfs", "haba", "dm")
REAL = ("herding", "random", "uncompressed")
METHODS = (*DISTILLED, *REAL, "all")
"""``all`` is the upper bound: all real images of the classes seen."""
NAMES = {
    "kfs": "KFS",
    "haba": "HaBa (DM)",
    "dm": "DM, plain images",
    "herding": "real, herding",
    "random": "real, random",
    "uncompressed": "real, random, not compressed",
    "all": "all real images (upper bound)",
}
DSA = Augmentation(ops=("color", "crop", "cutout", "flip", "scale", "rotate"))


@dataclass(frozen=True)
class Scale:
    """How much work.

    Attributes:
        name: of the results' folder.
        widths: of the networks that memories are tested with; the papers' where none is given.
        steps: of every training.
        batch: images of a step.
        suffix: of the recipes' names.
        settings: of each method, over its recipe's.
        real: real images a class that methods distill; None for all.
        per_class: uint8 images whose bytes a memory may have for each class seen.
    """

    name: str
    widths: Mapping[str, int]
    steps: int
    batch: int
    suffix: str
    settings: Mapping[str, Mapping[str, Any]]
    real: int | None = None
    per_class: int = 20

    def protocol(self, method: str, net: str) -> dict[str, Any]:
        """What a row depends on beside data, method, network and seed."""
        return {
            "scale": self.name,
            "width": self.widths.get(net),
            "steps": self.steps,
            "batch_size": self.batch,
            "per_class": self.per_class,
            "real": self.real,
            "settings": dict(self.settings.get(method, {})),
            "memories": self.digest(method),
        }

    def digest(self, method: str) -> str:
        """Of all that a method's memories depend on beside data and seed."""
        told: dict[str, Any] = {}
        if method in (*DISTILLED, "herding"):
            chosen = load_recipe(method + self.suffix, dict(self.settings.get(method, {})))
            told = chosen.model_dump(mode="json", exclude={"title", "inferred", "figures"})
        return _common.short_hash([self.per_class, self.real, told])


_MATCH = {"objective.networks": 100, "objective.width": 32}
CPU = Scale(
    "cpu",
    widths={"convnet3": 32, "resnet10": 16},
    steps=1000,
    batch=64,
    suffix="-cpu",
    settings={
        "kfs": {
            **_MATCH,
            "schedule.steps": 400,
            "objective.share": 0.25,
            "parameterization.decoders": 2,
            "parameterization.encoder_width": 16,
            "parameterization.pretrain.steps": 200,
        },
        "haba": {**_MATCH, "schedule.steps": 200},
        "dm": {**_MATCH, "schedule.steps": 800},
        "herding": {"parameterization.selection.epochs": 2, "parameterization.selection.width": 32},
    },
    real=1000,
)
FULL = Scale("full", widths={}, steps=3000, batch=128, suffix="", settings={"haba": {"space": "normalized"}})
_FEW = {"objective.networks": 1, "objective.width": 4, "schedule.steps": 2}
SMOKE = Scale(
    "smoke",
    widths=dict.fromkeys(NETS, 4),
    steps=3,
    batch=128,
    suffix="-cpu",
    settings={
        "kfs": {**_FEW, "parameterization.pretrain.steps": 3, "parameterization.pretrain_batch": 16},
        "haba": _FEW,
        "dm": _FEW,
        "herding": {"parameterization.selection.steps": 2, "parameterization.selection.width": 4},
    },
    per_class=8,
)
"""For tests: everything runs, nothing is learned."""
SCALES = {scale.name: scale for scale in (CPU, FULL, SMOKE)}


@dataclass(frozen=True)
class Work:
    """What all rows of a run have in common."""

    data: ImageData
    test: ImageData
    scale: Scale
    runs: Path
    device: torch.device

    def order(self, seed: int) -> list[tuple[int, ...]]:
        """The classes of each stage."""
        order = torch.randperm(len(self.data.classes), generator=generator(seed, "classes")).tolist()
        return [tuple(order[at : at + 2]) for at in range(0, len(order), 2)]

    def folder(self, method: str, seed: int) -> Path:
        """Of a method's memories and checkpoints."""
        return self.runs / f"{self.data.name}-{self.scale.name}" / f"{method}-{seed}-{self.scale.digest(method)}"

    def budget(self, classes: int) -> int:
        """Bytes of a memory of so many classes."""
        channels, height, width = self.data.shape
        return self.scale.per_class * channels * height * width * classes


def only(data: ImageData, classes: Sequence[int], most: int | None = None) -> ImageData:
    """The images of some classes, at most so many of each."""
    return data.take(torch.cat([data.of_class(label)[:most] for label in sorted(classes)]))


def memory_after(work: Work, method: str, seed: int, stage: int, log: dict[str, float]) -> ReplayMemory:
    """The memory after a stage; earlier ones are taken from the disk where they are."""
    folder = work.folder(method, seed)
    path = folder / f"stage-{stage}.dpk"
    classes = work.order(seed)
    budget = work.budget(sum(map(len, classes[: stage + 1])))
    if path.exists():
        return ReplayMemory.open(path)
    if stage:
        memory = memory_after(work, method, seed, stage - 1, log)
        memory.resize(budget)
    else:
        memory = ReplayMemory(budget, classes=work.data.classes)
    began = time.perf_counter()
    ADD[method](work, memory, method, classes[stage], seed, stage)
    log[str(stage)] = time.perf_counter() - began
    folder.mkdir(parents=True, exist_ok=True)
    memory.save(path)
    return memory


def add_distilled(work: Work, memory: ReplayMemory, method: str, classes: Sequence[int], seed: int, stage: int) -> None:
    own, scale = only(work.data, classes, work.scale.real), work.scale
    memory.add_stage(
        StageData(own),
        method + scale.suffix,
        budget=work.budget(len(classes)),
        settings=dict(scale.settings.get(method, {})),
        seed=seed,
        device=work.device,
        folder=work.folder(method, seed) / f"run-{stage}",
        resume=True,
    )


def add_real(work: Work, memory: ReplayMemory, method: str, classes: Sequence[int], seed: int, stage: int) -> None:
    """As many images as the bytes hold: three times as many as uncompressed are offered, and the memory drops the rest.

    They are stored as pixels, which costs a byte and loses nothing.
    """
    own = only(work.data, classes)
    least = int(torch.bincount(own.labels)[list(classes)].min())
    count = min(work.scale.per_class if method == "uncompressed" else 3 * work.scale.per_class, least)
    if method != "herding":
        draw = generator(seed, "random", stage)
        picked = [
            own.of_class(c)[torch.randperm(int((own.labels == c).sum()), generator=draw)[:count]] for c in classes
        ]
    else:
        picked = herded(work, own, classes, count, derive(seed, "herding", stage))
    index = torch.cat(picked)
    memory.add_arrays(own.images[index], own.labels[index])


def herded(work: Work, own: ImageData, classes: Sequence[int], count: int, seed: int) -> list[torch.Tensor]:
    """Herding among the stage's own images, by features of a network that is trained on them."""
    from dsetpack.trainers.context import Context
    from dsetpack.trainers.loop import Run
    from dsetpack.trainers.selections import select

    order = sorted(classes)
    places = torch.tensor([order.index(label) for label in own.labels.tolist()])
    alone = ImageData(own.images, places, tuple(own.classes[label] for label in order), own.name).to(work.device)
    chosen = load_recipe("herding" + work.scale.suffix, dict(work.scale.settings.get("herding", {})))
    space = Normalized.fit(own.images).to(work.device)
    context = Context(alone, space, count, seed, work.runs / "cache", lambda phase: Run(name=phase), None)
    index = select("herding", context, count, chosen.parameterization.selection).cpu()  # type: ignore[attr-defined]
    return list(index.split(count))


ADD: dict[str, Callable[..., None]] = {
    **dict.fromkeys(DISTILLED, add_distilled),
    **dict.fromkeys(REAL, add_real),
}


def trained(work: Work, pack: Pack, net: str, seed: int) -> tuple[torch.nn.Module, Any]:
    """A network trained from scratch on a pack, and the pixel space it sees: normalized, as all that methods make."""
    kept = pack if pack.card.space.kind != "raw" else normalized(pack)
    shape, classes, width = pack.card.shape, len(pack.card.classes), work.scale.widths.get(net)
    model = network(net, shape, classes, width, seed=derive(seed, "weights"))
    schedule = Recipe(lr=0.01, batch_size=work.scale.batch, steps=work.scale.steps, milestones=(2 / 3, 5 / 6))
    moved = kept.to(work.device)
    augmentation = DSA if work.data.name not in ("mnist", "svhn") else DSA.model_copy(update={"ops": ("color", "crop")})
    train(model, moved, recipe=schedule, augmentation=augmentation, seed=derive(seed, "order"), device=work.device)
    return model, moved.space


def normalized(pack: Pack) -> Pack:
    """Raw images in the normalized space of their own pixels: what the learner knows."""
    from dsetpack.replay.compatible import in_space

    return in_space(pack, Normalized.fit(torch.cat([part.sources.clamp(0, 1) for part in pack.parts])))


def row(work: Work, method: str, net: str, seed: int) -> dict[str, Any]:
    """One row: accuracy on the classes seen, after each stage."""
    found, seconds, seen = [], dict[str, float](), list[int]()
    for stage, classes in enumerate(work.order(seed)):
        seen += classes
        if method == "all":
            own = only(work.data, seen)
            pack, size = Pack.from_arrays(own.images, own.labels, classes=own.classes), own.images.numel()
        else:
            memory = memory_after(work, method, seed, stage, seconds)
            pack, size = memory.pack, memory.bytes
            if method == "uncompressed":
                size = work.budget(len(seen))
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
        "environment": _common.environment(work.device),
    }


def there(path: Path, protocol: Mapping[str, Any]) -> bool:
    """Whether a row is there; one that was measured in another way is refused."""
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
    """Of each seed, after the last stage."""
    return [r["stages"][-1]["accuracy"] for r in rows if (r["method"], r["net"]) == (method, net)]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
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


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Mean accuracy after each stage: a curve for each method, a panel for each network.

    Without deviations: before the last stage they tell which classes came first, not how sure a difference is.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise click.UsageError(f"--plot needs matplotlib ({error}): pip install matplotlib") from error
    nets = [net for net in NETS if any(r["net"] == net for r in rows)]
    figure = Figure(figsize=(4.2 * len(nets) + 2.4, 3.6), layout="constrained")
    panels = figure.subplots(1, len(nets), squeeze=False, sharey=True)[0]
    for net, axes in zip(nets, panels, strict=True):
        for method in METHODS:
            curves = [[s["accuracy"] for s in r["stages"]] for r in rows if (r["method"], r["net"]) == (method, net)]
            if not curves:
                continue
            means = [100 * statistics.fmean(values) for values in zip(*curves, strict=True)]
            seen = [2 * (stage + 1) for stage in range(len(means))]
            style = "--" if method in (*REAL, "all") else "-"
            axes.plot(seen, means, style, marker=".", color=f"C{METHODS.index(method)}", label=NAMES[method])
        axes.set(title=net, xlabel="classes seen", xticks=[2, 4, 6, 8, 10])
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on them, %")
    lines = {line.get_label(): line for axes in panels for line in axes.lines}
    figure.legend(lines.values(), lines.keys(), loc="outside right center", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


@click.command()
@click.option("--data", default="fashion-mnist", show_default=True, help="A data set by name, such as cifar10.")
@click.option("--root", envvar="DSETPACK_DATA", help="Folder that holds the data.")
@click.option("--only", "methods", multiple=True, type=click.Choice(METHODS), help="These methods; may be repeated.")
@click.option("--net", "nets", multiple=True, type=click.Choice(NETS), help="These networks; may be repeated.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Orders of the classes.")
@click.option("--cpu-scale", "scale", flag_value="cpu", help="Narrow networks and short schedules.")
@click.option("--full-scale", "scale", flag_value="full", default="full", help="The papers' networks; needs a GPU.")
@click.option("--smoke", "scale", flag_value="smoke", help="A few steps of everything, to see it run.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of PyTorch.")
@click.option("--render", is_flag=True, help="Run nothing: show what is there.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves (needs matplotlib).")
@click.option("--runs", default=RUNS, show_default=True, type=click.Path(path_type=Path), help="Where memories are.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the rows.")
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
    """Run what is missing, row by row, and show what is there."""
    folder = out or _common.RESULTS / f"continual-{data}-{scale}"
    if not render:
        chosen = _common.start(device, threads)
        work = Work(load(data, root), load(data, root, split="test"), SCALES[scale], runs, chosen)
        for seed in range(seeds):
            for method in methods or METHODS:
                for net in nets or NETS:
                    path = folder / f"{method}-{net}-{seed}.json"
                    if not there(path, work.scale.protocol(method, net)):
                        _common.write_json(path, row(work, method, net, seed))
    if not (rows := rows_of(folder)):
        raise click.UsageError(f"no rows in {folder}; --cpu-scale, --data or --out say which")
    show(rows)
    if plot is not None:
        draw(rows, plot)


if __name__ == "__main__":
    main()

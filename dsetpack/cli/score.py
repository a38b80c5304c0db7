"""``dsetpack score``: how much of a pack's accuracy is due to its images, not to its labels or its augmentation."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsetpack.cli.options import Sections, data_options, device_option, per_class_option
from dsetpack.cli.outputs import SHIPPED, out_option
from dsetpack.formats.words import plural

if TYPE_CHECKING:
    from dsetpack.trainers.robustness import Scores
    from dsetpack.trainers.scoring import Cost

_PARTS = {
    "real-hard": "all real images, hard labels",
    "syn-hard": "the pack, hard labels",
    "syn-any": "the pack, by its card",
    "rdm-any": "random real images, by the card",
    "syn-naug": "the pack, no augmentation",
    "rdm-naug": "random real images, no augmentation",
}
_SCORES = {
    "hlr": "hard-label recovery: real-hard - syn-hard",
    "ior": "improvement over random: syn-any - rdm-any",
    "label_gain": "what the pack's labels add: syn-any - syn-hard",
    "plain": "without augmentation: syn-naug - rdm-naug",
    "lrs": "label-robust score, in [0, 1]; 0.269 for no gain",
    "ars": "augmentation-robust score, in [0, 1]; 0.269 for no gain",
}


@click.command(
    "score",
    cls=Sections,
    sections={
        "Real images": ("data", "root", "axes", "drop_alpha"),
        "Trainings": ("seeds", "steps", "real_steps", "random_per_class", "rates", "device", "per_class"),
        "Output": ("results", "as_json"),
    },
)
@click.argument("file")
@data_options()
@click.option(
    "--seeds",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Networks, and random sets, per accuracy.",
)
@click.option(
    "--steps", type=click.IntRange(1), metavar="N", help="Steps of each training; by default the card's recipe."
)
@click.option(
    "--real-steps", type=click.IntRange(1), metavar="N", help="Steps on all real images; by default ten epochs."
)
@click.option(
    "--random-per-class",
    type=click.IntRange(1),
    metavar="N",
    help="Random real images per class; by default the number that fits in FILE's bytes.",
)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    metavar="LR",
    help="A learning rate to try for random images and hard labels, besides the recipe's; may be repeated. "
    "By default 0.001, 0.005, 0.01, 0.05 and 0.1.",
)
@out_option(
    "A file that keeps each accuracy as soon as it is measured; measured ones in it are not repeated.",
    "--results",
    "results",
    metavar="JSON",
)
@per_class_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    file: str,
    data: str,
    root: Path | None,
    seeds: int,
    steps: int | None,
    real_steps: int | None,
    random_per_class: int | None,
    per_class: int | None,
    rates: tuple[float, ...],
    results: Path | None,
    device: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure how much FILE owes to its images alone.

    The label-robust and the augmentation-robust score (DD-Ranking's LRS and ARS, as fractions) compare networks trained
    on FILE with networks trained on all real images and on random ones of the same size. That takes many trainings: for
    each seed one or two on FILE and one at each learning rate on random images, twice if the card augments; one at each
    learning rate on FILE with hard labels, if its labels are soft; and one on all real images. The command says how
    many trainings there are before it starts.
    """
    import dsetpack
    from dsetpack.formats import Reader
    from dsetpack.formats.outputs import check_apart
    from dsetpack.loading.device import usable
    from dsetpack.trainers.baselines import images_within
    from dsetpack.trainers.data import load
    from dsetpack.trainers.real import with_its_space
    from dsetpack.trainers.scoring import RATES, Plan, robustness

    target = usable(device)
    if results is not None:
        check_apart(results, [file, data, SHIPPED])
    pack = dsetpack.open(file, per_class=per_class)
    real, test = load(data, root, "train", **how), load(data, root, "test", **how)
    with Reader(file) as reader:
        size = reader.header.file_length
    found = robustness(
        with_its_space(pack, real),
        real,
        test,
        random_per_class or images_within(real, size),
        Plan(seeds, steps, real_steps, rates or RATES),
        device=target,
        results=results,
        say=_say,
    )
    if as_json:
        click.echo(json.dumps({"file": file, "digest": pack.digest, "bytes": size, **_facts(found)}, indent=2))
        return
    beside = plural(found.per_class, "random real image")
    click.echo(f"{file}: {size:,} bytes, beside {beside} per class; seeds: {seeds}")
    _show(found)


def _say(cost: Cost) -> None:
    real = f" and {cost.real} of {cost.real_steps:,} on real images" if cost.real else ""
    click.echo(f"{plural(cost.trainings, 'training')} of {plural(cost.steps, 'step')}{real}", err=True)


def _facts(found: Scores) -> dict[str, Any]:
    parts = {
        name: {"mean": part.mean, "std": part.std, "lr": part.lr, "accuracies": part.accuracies}
        for name, part in ((name, found[name]) for name in _PARTS)
    }
    scores = {name: {"mean": statistics.fmean(values), "std": _std(values), "values": values} for name, values in
              ((name, getattr(found, name)) for name in _SCORES)}  # fmt: skip
    lengths = {"per_class": found.per_class, "steps": found.steps, "real_steps": found.real_steps}
    return {**lengths, "parts": parts, **scores}


def _std(values: tuple[float, ...]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _show(found: Scores) -> None:
    for name, words in _PARTS.items():
        part = found[name]
        spread = "" if part.std is None else f" ± {part.std:.2%}"
        click.echo(f"  {name:<10} {f'{part.mean:.2%}{spread}':<18} {words}; lr {part.lr:g}")
    for name, words in _SCORES.items():
        values = getattr(found, name)
        std = _std(values)
        spread = "" if std is None else f" ± {std:.3f}"
        label = {"label_gain": "label gain", "plain": "plain lead"}.get(name, name.upper())
        click.echo(f"  {label:<10} {f'{statistics.fmean(values):.3f}{spread}':<18} {words}")

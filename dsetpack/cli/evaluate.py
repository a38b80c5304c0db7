"""``dsetpack eval``: networks are trained on a pack and tested on real images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsetpack.cli.fitted import fitted
from dsetpack.cli.options import Names, Sections, data_options, device_option, per_class_option, settings_option
from dsetpack.cli.outputs import SHIPPED, data_root, force_option, out_option
from dsetpack.formats.words import plural

if TYPE_CHECKING:
    from dsetpack.formats.card import Card, Metric, Recipe
    from dsetpack.trainers.data import ImageData
    from dsetpack.trainers.evaluate import Measured


def _listed(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """All names of an option that can be repeated and can hold commas."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


@click.command(
    "eval",
    cls=Sections,
    sections={
        "Test images": ("data", "root", "axes", "drop_alpha", "corruptions"),
        "Networks": ("archs", "width", "seeds", "predictor", "best_of"),
        "Training": ("protocol", "augment", "settings", "per_class", "device"),
        "Output": ("record", "force"),
    },
)
@click.argument("file")
@data_options()
@click.option(
    "--protocol",
    type=Names(["own", "common"]),
    default="own",
    show_default=True,
    help="Train by the card's own recipe, or by the common one for all packs (ConvNet-3, 2000 steps, DSA).",
)
@click.option(
    "--arch",
    "archs",
    multiple=True,
    callback=_listed,
    metavar="NAME,...",
    help="Networks such as convnet3, resnet18, vgg11 or alexnet, densenet121 and efficientnet-b0 of torchvision, or "
    "your own as module:callable, called with image=(C, H, W) and classes=n; by default the protocol's. Results of "
    "several networks are shown as a table.",
)
@click.option(
    "--width",
    type=click.IntRange(1),
    metavar="N",
    help="Width of the networks; by default the recipe's for its own network, otherwise the paper's.",
)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), metavar="N", help="Networks to train.")
@click.option(
    "--predictor",
    type=Names(["network", "krr"]),
    default="network",
    show_default=True,
    help="Predict by the network, or by kernel ridge regression on its features (FRePo, ISA).",
)
@click.option(
    "--best-of",
    type=click.IntRange(2),
    metavar="N",
    help="Test N times while training, and show the best result beside the last; the best is chosen on the test "
    "images, so only the last counts.",
)
@click.option(
    "--corrupt",
    "corruptions",
    multiple=True,
    callback=_listed,
    metavar="NAME[:LEVEL]",
    help="Also test on corrupted test images, such as fog:3, or fog for all five levels; may be repeated.",
)
@device_option
@per_class_option
@click.option("--augment/--no-augment", default=True, help="Use the protocol's augmentation, or none.")
@out_option(
    "Write FILE with the results in its card to NEW, which may be FILE itself.", "--record", "record", metavar="NEW"
)
@force_option
@settings_option("Change the protocol's recipe, such as steps=1000 or lr=0.02; may be repeated.")
def command(
    file: str,
    data: str,
    root: Path | None,
    protocol: Any,
    archs: list[str],
    width: int | None,
    seeds: int,
    predictor: Any,
    best_of: int | None,
    corruptions: list[str],
    device: str,
    augment: bool,
    per_class: int | None,
    record: Path | None,
    force: bool,
    settings: dict[str, Any],
    **how: Any,
) -> None:
    """Train networks on FILE, and test them on real images.

    FILE is a path or URL. Networks train by its card's recipe, or by the common protocol, and are tested on the data's
    test images. The network after the last step counts. The command prints the mean and the standard deviation over
    seeds.
    """
    import dsetpack
    from dsetpack.formats.seal import recard
    from dsetpack.loading.device import usable
    from dsetpack.trainers.data import load
    from dsetpack.trainers.evaluate import measure
    from dsetpack.trainers.protocols import NAMES, check_data, plan

    target = usable(device)
    if record is not None:
        _check_record(record, file, [data, *_modules(archs)], data_root(root), force)
    if any(":" in arch for arch in archs):
        sys.path.insert(0, str(Path.cwd()))  # the user's own network is in the current folder
    pack, test = dsetpack.open(file, per_class=per_class), load(data, root, "test", **how)
    if record is not None:
        _check_same_draws(pack.card, file)
    check_data(pack.card, test)
    changed = _recipe(pack.card, test.name, protocol, settings)
    named: list[str | None] = [*archs] or [None]
    plans = [
        plan(
            pack.card,
            test.name,
            protocol=protocol,
            recipe=changed,
            arch=arch,
            width=width,
            seeds=seeds,
            augmentation="card" if augment else None,
            predictor=predictor,
            readings=best_of or 1,
        )
        for arch in named
    ]
    tests, digest = _tests(test, corruptions), pack.digest
    pack = fitted(pack, data, root, **how)
    measured = (found for how in plans for found in measure(pack, tests, how, device=target))
    if len(plans) * len(tests) == 1:
        metrics = [_sentence(file, next(measured), len(test))]
    else:
        click.echo(f"{file}: {plural(len(test), 'test image')}, {plural(seeds, 'seed')}, after the last step")
        title = NAMES[plans[0].predictor]
        metrics = list(_rows(title, measured, [how.recipe.arch for how in plans], [t.name for t in tests], best_of))
    if record is not None:
        card = pack.card.replace(metrics=(*pack.card.metrics, *metrics))
        what = "result" if len(metrics) == 1 else "results"
        signed = _signed(file)
        click.echo(f"{record}: {recard(file, card, record, expect=digest):,} bytes, the {what} in its card")
        if signed:
            click.echo(f"{record}: not signed: the signature of {file} was for the card as it was")


def _modules(archs: list[str]) -> list[str]:
    """The files of the user's own networks in the current folder."""
    return [f"{arch.partition(':')[0].replace('.', '/')}.py" for arch in archs if ":" in arch]


def _check_record(record: Path, file: str, reads: list[str], root: str | Path | None, force: bool) -> None:
    """Check that the new file replaces nothing that is read, except FILE itself on request."""
    from dsetpack.formats.outputs import PACK, check_output

    same = record.exists() and Path(file).exists() and record.samefile(file)
    kept = [one for one in reads if not (same and Path(one).is_dir())]
    check_output(record, PACK, [*kept, SHIPPED], force=force, keep=root)


def _check_same_draws(card: Card, file: str) -> None:
    """Check that the card says how many images a generator made for the results that go into it."""
    from dsetpack.formats import Reader
    from dsetpack.formats.errors import FormatError

    with Reader(file) as reader:
        said = reader.manifest.card.per_class
    if said not in (None, card.per_class):
        raise FormatError(
            f"{file}: its card says {plural(said, 'image')} per class, and the results would be for {card.per_class}: "
            "leave out --per-class, or --record"
        )


def _signed(file: str) -> bool:
    from dsetpack.formats import Reader
    from dsetpack.formats.signature import signer

    with Reader(file) as reader:
        return signer(reader.header) is not None


def _sentence(file: str, found: Measured, images: int) -> Metric:
    metric = found.metric
    shown = f"{metric.arch} {metric.width or ''}".strip()
    kind = "" if metric.name == "accuracy" else f"{metric.name} "
    click.echo(
        f"{file}: {kind}{_percent(found.last)} on {plural(images, 'test image')} of {metric.test_data}; {shown}, "
        f"{plural(metric.seeds, 'seed')}{'' if metric.protocol == 'own' else f', {metric.protocol} protocol'}"
    )
    if found.readings > 1:
        click.echo(f"best of {plural(found.readings, 'reading')}, chosen on the test images: {_percent(found.best)}")
    return metric


def _rows(
    title: str, measured: Iterator[Measured], archs: list[str], tests: list[str], best_of: int | None
) -> Iterator[Metric]:
    """Print a table, each row as soon as it is measured."""
    first, last = (max(map(len, names)) for names in (["network", *archs], ["test images", *tests]))
    best = "" if best_of is None else f"  {f'best of {best_of}':>16}"
    click.echo(f"{'network':<{first}}  width  {title:>16}{best}  {'test images':<{last}}  protocol".rstrip())
    for found in measured:
        metric = found.metric
        best = "" if best_of is None else f"  {_percent(found.best):>16}"
        click.echo(
            f"{metric.arch:<{first}}  {metric.width or '':>5}  {_percent(found.last):>16}{best}  "
            f"{metric.test_data:<{last}}  {metric.protocol}"
        )
        yield metric
    if best_of is not None:
        click.echo(
            f"best of {best_of}: the best reading while training, chosen on the test images; the last one counts"
        )


def _percent(values: list[float]) -> str:
    import statistics

    spread = f" ± {statistics.stdev(values):.2%}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2%}{spread}"


def _tests(test: ImageData, corruptions: list[str]) -> list[ImageData]:
    """The clean test images, and the corrupted ones that the user asks for."""
    from dsetpack.formats.errors import FormatError
    from dsetpack.trainers.data.corrupt import LEVELS, corrupted

    found = [test]
    for text in corruptions:
        name, colon, level = text.partition(":")
        if colon and level not in map(str, LEVELS):
            raise FormatError(
                f"--corrupt {text}: level {level!r}; expected {LEVELS[0]} to {LEVELS[-1]}, or none for all"
            )
        found += [corrupted(test, name, number) for number in ([int(level)] if colon else LEVELS)]
    return found


def _recipe(card: Card, data: str, protocol: str, changes: dict[str, Any]) -> Recipe | None:
    """The protocol's recipe with some fields changed; None if nothing changes."""
    from dsetpack.formats.card import Recipe
    from dsetpack.formats.errors import FormatError, at
    from dsetpack.recipes.full import nearest
    from dsetpack.trainers.protocols import defaults

    if not changes:
        return None
    known = tuple(Recipe.model_fields)
    if unknown := [key for key in changes if key not in known]:
        raise FormatError(f"--set: no setting {unknown[0]!r}; nearest is {nearest(unknown[0], known)!r}")
    base, _ = defaults(card, data, protocol)
    fields = base.model_dump(exclude_defaults=True) if base else {}
    if "epochs" in changes or "steps" in changes:
        fields.pop("epochs", None), fields.pop("steps", None)
    with at("--set"):
        return Recipe.model_validate({**fields, **changes})

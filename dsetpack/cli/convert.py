"""``dsetpack convert``: conversion of other people's files to a pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dsetpack.cli.declared import SPACES, DeclaredSpace
from dsetpack.formats.presets import PRESETS as ENCODINGS

if TYPE_CHECKING:
    from dsetpack.pack.pack import Pack
    from dsetpack.trainers.data import ImageData


_LABELS = (
    "What labels are: order (class by class, if there are none), one-based (1 is the first class), softmax (logits), "
    "probabilities (kept), renormalised (each row divided by its sum), hard (the largest alone), centred or uncentred "
    "targets. Or a .npy or .pt FILE of labels, or FILE:RULE."
)


class _Command(click.Command):
    """A command whose help lists the layouts; they are looked for only then, because they import torch."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        from dsetpack.convert import layout_names, layout_of

        with formatter.section("Layouts"):
            found = {name: layout_of(name) for name in layout_names()}
            rows = [(name, f"{one.recognised}. Not said: {one.unknown}.") for name, one in found.items()]
            formatter.write_dl(rows)


def _floats(_ctx: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected numbers with commas between them, one per channel") from None


def _classes(_ctx: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...] | int | None:
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    return tuple(name.strip() for name in text.split(","))


def _rate(_ctx: click.Context, _option: click.Parameter, text: str | None) -> float | Literal["none"] | None:
    if text is None or text == "none":
        return "none" if text else None
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: a number or 'none' expected") from None


@click.command("convert", cls=_Command)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The .dpk to write.")
@click.option("--layout", help="The layout of SOURCE; by default it is detected.")
@click.option("--space", type=click.Choice(SPACES), help="The pixel space of the values in SOURCE.")
@click.option("--mean", callback=_floats, help="For normalized and zca-frepo, one number per channel: 0.49,0.48,0.45.")
@click.option("--std", callback=_floats, help="As --mean; by default both are the published ones of --dataset.")
@click.option("--dataset", help="The real data, by name or path: published mean and std, class names, images for ZCA.")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Folder with the data's files; by default $DSETPACK_DATA."
)
@click.option("--zca", type=click.Path(path_type=Path), help="A .npz or .pt of mean and matrix, instead of a new fit.")
@click.option("--refit", is_flag=True, help="Keep only the recipe of a ZCA, not its matrix of (C·H·W)² floats.")
@click.option("--labels", help=_LABELS)
@click.option(
    "--classes",
    callback=_classes,
    help="The number of classes, or their names with commas between them; names that SOURCE has may be in any order.",
)
@click.option("--lr", callback=_rate, help="The learning rate to train with, or 'none' for no recipe.")
@click.option(
    "--factor", type=click.IntRange(1), help="For IDC: smaller images per side of each image; 1 for plain images."
)
@click.option("--experiment", type=click.IntRange(0), help="For DC, DSA and DM: the number of the set in the file.")
@click.option("--split", type=click.Choice(["train", "test"]), help="The split of SOURCE to read; by default train.")
@click.option(
    "--axes", type=click.Choice(["NCHW", "NHWC"], case_sensitive=False), help="The order of the axes of images."
)
@click.option("--drop-alpha", is_flag=True, help="Drop the alpha channel of images.")
@click.option("--absent", is_flag=True, help="Accept classes without images.")
@click.option("--method", help="The method that made SOURCE, such as dsa.")
@click.option("--recipe", help="The recipe to train with, by name, such as dc-mnist-ipc10; see 'dsetpack recipes'.")
@click.option("--title", help="The title of the pack.")
@click.option("--description", help="A text about the pack, before what the conversion says.")
@click.option("--license", help="The licence of the data, such as MIT or CC-BY-4.0.")
@click.option("--author", help="Who made the set.")
@click.option("--url", help="Where the set comes from.")
@click.option("--encoding", default="exact", show_default=True, type=click.Choice(ENCODINGS), help="How to store it.")
def command(
    source: Path,
    out: Path,
    layout: str | None,
    space: str | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    dataset: str | None,
    root: Path | None,
    zca: Path | None,
    refit: bool,
    encoding: str,
    **declared: Any,
) -> None:
    """Make a pack of SOURCE, a file or folder of a distilled data set. No code in it is ever run.

    Options declare what SOURCE does not say; an error names what is missing. The card records what you declared.
    """
    from dsetpack.convert import PUBLISHED, convert, detect
    from dsetpack.formats.atomic import check_writable
    from dsetpack.formats.errors import FormatError

    said = DeclaredSpace(space, mean, std, dataset, root, zca, refit)
    said.check()
    check_writable(out)
    if not source.exists():
        raise FormatError(f"{source}: no such file or folder")
    layout = layout or detect(source)
    chosen, data = said.make()
    if data is not None and declared["classes"] is None and dataset not in PUBLISHED:
        numbers = data.classes == tuple(map(str, range(len(data.classes))))
        declared["classes"] = len(data.classes) if numbers else data.classes
    pack = convert(
        source, layout=layout, space=chosen, dataset=None if dataset is None else _name(dataset, data), **declared
    )
    pack.save(out, encoding=encoding)
    click.echo(_line(out, layout, pack, encoding))


def _name(dataset: str, data: ImageData | None) -> str:
    """The name of the data for the card: never a path on this machine."""
    return data.name if data is not None else Path(dataset).name


def _line(out: Path, layout: str, pack: Pack, encoding: str) -> str:
    part = pack.parts[0]
    size, shape = out.stat().st_size, "×".join(map(str, pack.card.shape))
    ways = f"{len(part)} × {part.slots} {part.kind}" if part.slots > 1 else f"{len(part)}"
    recipe = "no recipe" if pack.card.recipe is None else f"lr {pack.card.recipe.lr:g}"
    return (
        f"{out}: layout {layout}; {ways} = {len(pack)} images {shape}, {pack.card.space.kind} space, "
        f"{pack.card.labels.kind} labels, {recipe}; {size:,} bytes ({encoding})"
    )

"""``dsetpack convert``: conversion of other people's files to a pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dsetpack.cli import index
from dsetpack.cli.declared import SPACES, DeclaredSpace
from dsetpack.cli.options import InputPath, Names, Sections, encoding_option, root_option
from dsetpack.cli.outputs import SHIPPED, data_root, force_option, out_option
from dsetpack.formats.words import plural

if TYPE_CHECKING:
    from dsetpack.pack.pack import Pack
    from dsetpack.trainers.data import ImageData


_LABELS = (
    "What labels are: order (class by class, if there are none), one-based (1 is the first class), softmax (logits), "
    "probabilities (kept), renormalised (each row divided by its sum), hard (the largest alone), centred or uncentred "
    "targets. Or a .npy or .pt FILE of labels, or FILE:RULE."
)


class _Command(Sections):
    """A command whose help lists the layouts."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Layouts"):
            formatter.write_dl(list(index.read().layouts.items()))


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
    if text is None:
        return None
    if text.casefold() == "none":
        return "none"
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: a number or 'none' expected") from None


@click.command(
    "convert",
    cls=_Command,
    sections={
        "What SOURCE is": ("layout", "dataset", "root", "method", "split", "experiment", "factor"),
        "Images": ("space", "mean", "std", "zca", "refit", "axes", "drop_alpha"),
        "Labels": ("labels", "classes", "absent"),
        "Training": ("recipe", "lr"),
        "Card": ("title", "description", "license", "author", "url"),
        "Output": ("out", "encoding", "force"),
    },
)
@click.argument("source", type=InputPath)
@out_option("The .dpk to write.", required=True)
@click.option("--layout", metavar="NAME", help="The layout of SOURCE; by default it is detected.")
@click.option("--space", type=Names(SPACES), help="The pixel space of the values in SOURCE.")
@click.option(
    "--mean",
    metavar="N,...",
    callback=_floats,
    help="For normalized and zca-frepo, one number per channel: 0.49,0.48,0.45.",
)
@click.option(
    "--std", metavar="N,...", callback=_floats, help="As --mean; by default both are the published ones of --dataset."
)
@click.option(
    "--dataset",
    metavar="NAME|PATH",
    help="The real data, by name or path: published mean and std, class names, images for ZCA.",
)
@root_option
@click.option("--zca", type=InputPath, help="A .npz or .pt of mean and matrix, instead of a new fit.")
@click.option("--refit", is_flag=True, help="Keep only the recipe of a ZCA, not its matrix of (C·H·W)² floats.")
@click.option("--labels", metavar="RULE|PATH", help=_LABELS)
@click.option(
    "--classes",
    metavar="N|NAME,...",
    callback=_classes,
    help="The number of classes, or their names with commas between them; names that SOURCE has may be in any order.",
)
@click.option("--lr", metavar="LR", callback=_rate, help="The learning rate to train with, or 'none' for no recipe.")
@click.option(
    "--factor",
    type=click.IntRange(1),
    metavar="N",
    help="For IDC: smaller images per side of each image; 1 for plain images.",
)
@click.option(
    "--experiment", type=click.IntRange(0), metavar="N", help="For DC, DSA and DM: the number of the set in the file."
)
@click.option("--split", type=Names(["train", "test"]), help="The split of SOURCE to read; by default train.")
@click.option("--axes", type=Names(["NCHW", "NHWC"]), help="The order of the axes of images.")
@click.option("--drop-alpha", is_flag=True, help="Drop the alpha channel of images.")
@click.option("--absent", is_flag=True, help="Accept classes without images.")
@click.option("--method", metavar="NAME", help="The method that made SOURCE, such as dsa.")
@click.option(
    "--recipe",
    metavar="NAME",
    help="The recipe to train with, by name, such as dc-mnist-ipc10; see 'dsetpack recipes'.",
)
@click.option("--title", help="The title of the pack.")
@click.option("--description", help="A text about the pack, before what the conversion says.")
@click.option("--license", metavar="NAME", help="The licence of the data, such as MIT or CC-BY-4.0.")
@click.option("--author", metavar="NAME", help="Who made the set.")
@click.option("--url", metavar="URL", help="Where the set comes from.")
@encoding_option
@force_option
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
    force: bool,
    **declared: Any,
) -> None:
    """Make a pack of other people's files.

    SOURCE is a file or folder of a distilled data set. No code in it is ever run. Options declare what SOURCE does not
    say; an error names what is missing. The card records what you declared.
    """
    from dsetpack.convert import PUBLISHED, convert, detect, label_source, layout_names
    from dsetpack.formats.by_name import spelled
    from dsetpack.formats.errors import FormatError
    from dsetpack.formats.outputs import PACK, check_apart, check_output
    from dsetpack.recipes.tables import recipe_files

    said = DeclaredSpace(space, mean, std, dataset, root, zca, refit)
    said.check()
    recipe = declared["recipe"]
    reads = [source, zca, label_source(declared["labels"])[0], dataset, SHIPPED]
    reads += () if recipe is None else recipe_files(recipe)
    check_output(out, PACK, reads, force=force, keep=data_root(root))
    if not source.exists():
        raise FormatError(f"{source}: no such file or folder")
    layout = detect(source) if layout is None else spelled(layout_names(), layout) or layout
    chosen, data = said.make()
    if data is not None and declared["classes"] is None and dataset not in PUBLISHED:
        numbers = data.classes == tuple(map(str, range(len(data.classes))))
        declared["classes"] = len(data.classes) if numbers else data.classes
    pack = convert(
        source, layout=layout, space=chosen, dataset=None if dataset is None else _name(dataset, data), **declared
    )
    check_apart(out, _beside(source, pack))
    pack.save(out, encoding=encoding)
    click.echo(_line(out, layout, pack, encoding))


def _beside(source: Path, pack: Pack) -> list[Path]:
    """The files that were read with SOURCE, such as the labels beside it."""
    converted = pack.card.provenance.settings.get("converted")
    files = converted.get("files") if isinstance(converted, dict) else None
    return [source.parent / name for name in files] if isinstance(files, dict) else []


def _name(dataset: str, data: ImageData | None) -> str:
    """The name of the data for the card: never a path on this machine."""
    return data.name if data is not None else Path(dataset).name


def _line(out: Path, layout: str, pack: Pack, encoding: str) -> str:
    part = pack.parts[0]
    size, shape = out.stat().st_size, "×".join(map(str, pack.card.shape))
    ways = f"{len(part)} × {part.slots} {part.kind} = " if part.slots > 1 else ""
    recipe = "no recipe" if pack.card.recipe is None else f"lr {pack.card.recipe.lr:g}"
    return (
        f"{out}: layout {layout}; {ways}{plural(len(pack), 'image')} {shape}, {pack.card.space.kind} space, "
        f"{pack.card.labels.kind} labels, {recipe}; {size:,} bytes ({encoding})"
    )

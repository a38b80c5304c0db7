"""``dsetpack demo``: real images are distilled, stored, loaded, trained on and compared within minutes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from dsetpack.cli.outputs import PICTURE, SHIPPED, OutputPath, force_option, out_option
from dsetpack.cli.preview import png

if TYPE_CHECKING:
    from dsetpack.trainers.demo import Demo


@click.command("demo")
@out_option("The pack to write.", default="demo.dpk", show_default=True)
@click.option(
    "--picture", default="demo.png", show_default=True, callback=png, type=OutputPath(), help="The PNG to write."
)
@force_option
def command(out: Path, picture: Path, force: bool) -> None:
    """Distill a small sample, and compare it with real images.

    The sample of Fashion-MNIST that ships is distilled into a pack, which is then compared with real images in as many
    bytes. It takes a few minutes on two cores. The exit status is 1 if the pack is not ahead by at least 8 points.
    """
    from dsetpack.formats.errors import DsetpackError
    from dsetpack.formats.outputs import PACK, check_output
    from dsetpack.trainers.demo import run

    if os.path.realpath(out) == os.path.realpath(picture):
        raise click.UsageError("--out and --picture name the same file")
    for path, kind in ((out, PACK), (picture, PICTURE)):
        check_output(path, kind, [SHIPPED], force=force)
    found = run(out, picture, lambda line: click.echo(f"· {line}"))
    _show(found)
    if found.lead < GOAL:
        raise DsetpackError(
            f"the pack is {found.lead:+.1f} points ahead of as many bytes of real images; {GOAL} expected"
        )


GOAL = 8.0


def _show(found: Demo) -> None:
    console, recipe = Console(), found.recipe
    table = Table("trained on", title="Accuracy on the sample's 1,000 real test images", title_justify="left")
    for name in ("images", "bytes", "accuracy", "runs", "learning rate", "seconds"):
        table.add_column(name, justify="right")
    for row in found.rows:
        spread = "" if row.std is None else f" ± {row.std:.1%}"
        cells = (f"{row.images:,}", f"{row.bytes:,}", f"{row.accuracy:.1%}{spread}", f"{row.runs}")
        table.add_row(row.name, *cells, f"{row.lr:g}", f"{row.seconds:.0f}")
    console.print(table)
    console.print(
        f"{recipe.arch}, width {recipe.width}; {recipe.steps} steps of {recipe.batch_size} and the same augmentation "
        f"for all. Random images: the best of three learning rates, means over subsets. Whole files are compared. "
        f"Distilled in {found.distill_seconds:.0f} s, all in {found.seconds:.0f} s. "
        f"The pack is {found.lead:+.1f} points ahead of as many bytes of real images.",
        highlight=False,
    )

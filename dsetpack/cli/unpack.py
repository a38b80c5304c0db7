"""``dsetpack unpack``: a pack as plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from dsetpack.cli.options import data_options


@click.command("unpack")
@click.argument("file")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--as",
    "form",
    type=click.Choice(["png", "safetensors", "hf"]),
    default="png",
    show_default=True,
    help="8-bit PNG files and labels.csv; float tensors; or a table of the Hugging Face datasets library.",
)
@click.option(
    "--space", type=click.Choice(["pack", "raw"]), help="For safetensors: the pixel space; by default the pack's."
)
@click.option("--per-class", type=click.IntRange(1), help="Images per class of a generator.")
@data_options(required=False)
def command(
    file: str,
    folder: Path,
    form: str,
    space: Literal["pack", "raw"] | None,
    per_class: int | None,
    data: str | None,
    root: Path | None,
    **how: Any,
) -> None:
    """Write every image of FILE (a path or URL) with its label into the new or empty folder DIR.

    If the pack keeps only the recipe of its ZCA, --data names the training images on which to fit it again.
    """
    import dsetpack
    from dsetpack.cli.fitted import fitted
    from dsetpack.unpack import unpack

    pack = dsetpack.open(file, per_class=per_class)
    if data is not None:
        pack = fitted(pack, data, root, **how)
    unpack(pack, folder, as_=form, space=space)
    click.echo(f"{folder}: {len(pack):,} images as {form}")

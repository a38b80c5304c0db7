"""``dsetpack unpack``: a pack as plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from dsetpack.cli.options import Names, Sections, data_options, per_class_option
from dsetpack.cli.outputs import SHIPPED, OutputPath, one_output, out_option


@click.command(
    "unpack",
    cls=Sections,
    sections={
        "Output": ("out", "form", "space", "per_class"),
        "Training images": ("data", "root", "axes", "drop_alpha"),
    },
)
@click.argument("file")
@click.argument("folder", metavar="[DIR]", type=OutputPath(), required=False)
@out_option("The folder to write, instead of DIR.")
@click.option(
    "--as",
    "form",
    type=Names(["png", "safetensors", "hf"]),
    default="png",
    show_default=True,
    help="8-bit PNG files and labels.csv; float tensors; or a table of the Hugging Face datasets library.",
)
@click.option("--space", type=Names(["pack", "raw"]), help="For safetensors: the pixel space; by default the pack's.")
@per_class_option
@data_options(required=False)
def command(
    file: str,
    folder: Path | None,
    out: Path | None,
    form: str,
    space: Literal["pack", "raw"] | None,
    per_class: int | None,
    data: str | None,
    root: Path | None,
    **how: Any,
) -> None:
    """Write every image of FILE, with its label, into a folder.

    FILE is a path or URL; DIR is a new or empty folder, so nothing is ever overwritten. If the pack keeps only the
    recipe of its ZCA, --data names the training images on which to fit it again.
    """
    import dsetpack
    from dsetpack.cli.fitted import fitted
    from dsetpack.formats.outputs import check_apart
    from dsetpack.formats.words import plural
    from dsetpack.unpack import unpack

    target = one_output(folder, out, "DIR")
    check_apart(target, [data, SHIPPED])
    pack = dsetpack.open(file, per_class=per_class)
    if data is not None:
        pack = fitted(pack, data, root, **how)
    unpack(pack, target, as_=form, space=space)
    click.echo(f"{target}: {plural(len(pack), 'image')} as {form}")

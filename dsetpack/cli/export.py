"""``dsetpack export``: a pack as an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dsetpack.cli.options import Names, per_class_option
from dsetpack.cli.outputs import MODEL, OutputPath, force_option, one_output, out_option


@click.command("export")
@click.argument("file")
@click.argument("output", type=OutputPath(), required=False)
@out_option("The model to write, instead of OUTPUT.")
@click.option(
    "--space",
    type=Names(["pack", "raw"]),
    default="pack",
    show_default=True,
    help="The pixel space of the images: the pack's own, or raw values in [0, 1].",
)
@click.option("--decoder-only", is_flag=True, help="Export only the bank, with the inputs 'source' and 'decoder'.")
@click.option(
    "--portable",
    is_flag=True,
    help="Use only operators that every engine takes: slower for packs whose decoders have weights of their own, and "
    "numbers that do not exist give some image instead of an error.",
)
@click.option(
    "--label-type",
    type=Names(["int64", "int32"]),
    default="int64",
    show_default=True,
    help="The type of hard labels: int32 for engines without int64.",
)
@per_class_option
@force_option
def command(
    file: str,
    output: Path | None,
    out: Path | None,
    space: Literal["pack", "raw"],
    decoder_only: bool,
    portable: bool,
    label_type: Literal["int64", "int32"],
    per_class: int | None,
    force: bool,
) -> None:
    """Write FILE as an ONNX model, which decodes without torch.

    FILE is a path or URL; OUTPUT is the .onnx to write. The model needs neither torch nor dsetpack.
    """
    from dsetpack.formats.outputs import check_output
    from dsetpack.onnx import export

    target = one_output(output, out, "OUTPUT")
    check_output(target, MODEL, [file], force=force)
    size = export(
        file,
        target,
        space=space,
        decoder_only=decoder_only,
        per_class=per_class,
        portable=portable,
        label_type=label_type,
    )
    click.echo(f"{target}: {size:,} bytes")

"""``dsetpack export``: a pack as an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command("export")
@click.argument("file")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--space",
    type=click.Choice(["pack", "raw"]),
    default="pack",
    show_default=True,
    help="Pixel space of the images: the pack's own, or raw values in [0, 1].",
)
@click.option("--decoder-only", is_flag=True, help="Export only the bank, with the inputs 'source' and 'decoder'.")
@click.option("--per-class", type=click.IntRange(1), help="Images per class and epoch of a generator.")
def command(file: str, output: Path, space: Literal["pack", "raw"], decoder_only: bool, per_class: int | None) -> None:
    """Write FILE (a path or URL) as the ONNX model OUTPUT, which decodes without torch or dsetpack."""
    from dsetpack.onnx import export

    size = export(file, output, space=space, decoder_only=decoder_only, per_class=per_class)
    click.echo(f"{output}: {size:,} bytes")

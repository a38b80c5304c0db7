"""``dsetpack preview``: a labelled grid of decoded images."""

from __future__ import annotations

from pathlib import Path

import click


def png(_ctx: click.Context, _option: click.Parameter, path: Path) -> Path:
    """The path, checked to be called what it will be."""
    if path.suffix.lower() != ".png":
        raise click.BadParameter(f"{path} will be a PNG: a name that ends in .png expected")
    return path


@click.command("preview")
@click.argument("file")
@click.option("-o", "--output", callback=png, type=click.Path(path_type=Path), required=True, help="The PNG to write.")
@click.option("--rows", default=20, show_default=True, type=click.IntRange(1, 200), help="Sources shown at most.")
@click.option("--columns", default=12, show_default=True, type=click.IntRange(1, 64), help="Decoders shown at most.")
def command(file: str, output: Path, rows: int, columns: int) -> None:
    """Draw FILE (a path or URL) as a grid: sources down, decoders across."""
    import dsetpack
    from dsetpack.formats.atomic import check_writable
    from dsetpack.preview import grid

    check_writable(output)
    image = grid(dsetpack.open(file), rows, columns)
    image.save(output, format="PNG")
    click.echo(f"{output}: {image.width}×{image.height} pixels")

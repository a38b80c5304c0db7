"""``dsetpack preview``: a labelled grid of decoded images, or a page with everything."""

from __future__ import annotations

import io
from pathlib import Path

import click

from dsetpack.cli.options import per_class_option
from dsetpack.cli.outputs import PAGE, PICTURE, force_option, out_option


def png(_ctx: click.Context, _option: click.Parameter, path: Path) -> Path:
    """Check that the path ends in ``.png``, and return it."""
    if path.suffix.lower() != ".png":
        raise click.BadParameter(f"{path} will be a PNG: a name that ends in .png expected")
    return path


def picture_or_page(_ctx: click.Context, _option: click.Parameter, path: Path) -> Path:
    """Check that the path ends in ``.png`` or ``.html``, and return it."""
    if path.suffix.lower() not in (".png", ".html"):
        raise click.BadParameter(f"{path}: a name that ends in .png or .html expected")
    return path


@click.command("preview")
@click.argument("file")
@out_option(
    "The PNG to write, or the page (.html): one file with images, bytes, card and results, which loads nothing.",
    callback=picture_or_page,
    required=True,
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    metavar="N",
    help="The largest number of rows: classes of plain images, or sources.",
)
@click.option(
    "--columns",
    type=click.IntRange(1),
    metavar="N",
    help="The largest number of images in a row; of decoders, by default 12.",
)
@per_class_option
@force_option
def command(file: str, out: Path, rows: int | None, columns: int | None, per_class: int | None, force: bool) -> None:
    """Draw FILE as a PNG, or as a page with everything in it.

    FILE is a path or URL. Each class of plain images has a row, or else each source, with its decoders. A page has all
    images, 200 at a time; a picture has as many as fit.
    """
    from dsetpack.formats.outputs import check_output

    check_output(out, PAGE if out.suffix.lower() == ".html" else PICTURE, [file], force=force)
    click.echo((_page if out.suffix.lower() == ".html" else _picture)(file, out, rows, columns, per_class))


def _picture(file: str, out: Path, rows: int | None, columns: int | None, per_class: int | None) -> str:
    from dsetpack.formats.atomic import write_atomically
    from dsetpack.pack.opened import open_to_show
    from dsetpack.preview.grid import grid

    image, data = grid(open_to_show(file, per_class=per_class), rows, columns), io.BytesIO()
    image.save(data, format="PNG")
    write_atomically(out, data.getvalue())
    return f"{out}: {image.height}×{image.width} pixels (height × width)"


def _page(file: str, out: Path, rows: int | None, columns: int | None, per_class: int | None) -> str:
    from dsetpack.formats.atomic import write_atomically
    from dsetpack.preview.page import page

    data = page(file, rows, columns, per_class).encode()
    write_atomically(out, data)
    return f"{out}: {len(data):,} bytes"

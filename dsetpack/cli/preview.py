"""``dsetpack preview``: a labelled grid of decoded images, or a page with everything."""

from __future__ import annotations

import io
from pathlib import Path

import click


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
@click.option(
    "-o",
    "--out",
    callback=picture_or_page,
    type=click.Path(path_type=Path),
    required=True,
    help="The PNG to write, or the page (.html): one file with images, bytes, card and results, which loads nothing.",
)
@click.option("--rows", type=click.IntRange(1), help="The largest number of rows: classes of plain images, or sources.")
@click.option("--columns", type=click.IntRange(1), help="The largest number of images of a row; of decoders 12.")
def command(file: str, out: Path, rows: int | None, columns: int | None) -> None:
    """Draw FILE (a path or URL): a row for each class of plain images, or else for each source, with its decoders.

    A page has all images, 200 at a time; a picture has as many as fit.
    """
    from dsetpack.formats.atomic import check_writable

    check_writable(out)
    click.echo((_page if out.suffix.lower() == ".html" else _picture)(file, out, rows, columns))


def _picture(file: str, out: Path, rows: int | None, columns: int | None) -> str:
    from dsetpack.formats.atomic import write_atomically
    from dsetpack.pack.opened import open_to_show
    from dsetpack.preview.grid import grid

    image, data = grid(open_to_show(file), rows, columns), io.BytesIO()
    image.save(data, format="PNG")
    write_atomically(out, data.getvalue())
    return f"{out}: {image.width}×{image.height} pixels"


def _page(file: str, out: Path, rows: int | None, columns: int | None) -> str:
    from dsetpack.formats.atomic import write_atomically
    from dsetpack.preview.page import page

    data = page(file, rows, columns).encode()
    write_atomically(out, data)
    return f"{out}: {len(data):,} bytes"

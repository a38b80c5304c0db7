"""``dsetpack card``: a pack described for people, or for dataset catalogues."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from dsetpack import cards


@click.command("card")
@click.argument("file")
@click.option("--croissant", is_flag=True, help="Croissant 1.1 metadata (JSON-LD) instead of Markdown.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write; by default it is printed.")
@click.option("--url", help="With --croissant: the page of the data set; by default the card's.")
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="With --croissant: the day of its publication.")
def command(file: str, croissant: bool, out: Path | None, url: str | None, date: datetime.datetime | None) -> None:
    """Describe FILE (a path or URL) as a Hugging Face dataset card in Markdown, after checking all of its bytes."""
    from dsetpack.cards.croissant import dumps
    from dsetpack.formats.atomic import check_writable, write_atomically

    if not croissant and (url or date):
        raise click.UsageError("--url and --date go into Croissant metadata: use them with --croissant")
    if out is not None:
        check_writable(out)
    found = cards.facts(file)
    if croissant:
        described = dumps(cards.croissant(found, url=url, published=date.date() if date else None))
    else:
        described = cards.markdown(found)
    if out is None:
        click.echo(described, nl=False)
    else:
        write_atomically(out, described.encode())
        click.echo(f"{out}: {len(described.encode()):,} bytes")

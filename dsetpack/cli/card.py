"""``dsetpack card``: a pack described for people, or for dataset catalogues."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from dsetpack import cards
from dsetpack.cli.outputs import CARD, CROISSANT, force_option, out_option


@click.command("card")
@click.argument("file")
@click.option("--croissant", is_flag=True, help="Croissant 1.1 metadata (JSON-LD) instead of Markdown.")
@out_option("The file to write; by default, and for '-', the card is printed.", printed=True)
@click.option("--url", metavar="URL", help="With --croissant: the page of the data set; by default the card's.")
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="With --croissant: the day of its publication.",
)
@force_option
def command(
    file: str, croissant: bool, out: Path | None, url: str | None, date: datetime.datetime | None, force: bool
) -> None:
    """Describe FILE as a dataset card for the Hugging Face Hub.

    FILE is a path or URL; all of its bytes are checked first. The card is Markdown with front matter.
    """
    from dsetpack.cards.croissant import dumps
    from dsetpack.formats.atomic import write_atomically
    from dsetpack.formats.outputs import check_output

    if not croissant and (url or date):
        raise click.UsageError("--url and --date go into Croissant metadata: use them with --croissant")
    if out == Path("-"):
        out = None
    if out is not None:
        check_output(out, CROISSANT if croissant else CARD, [file], force=force)
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

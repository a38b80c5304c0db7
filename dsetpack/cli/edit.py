"""``dsetpack edit``: other texts in a pack's card, and another layout of its HDF5 part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsetpack.cli.options import Names
from dsetpack.cli.outputs import force_option, out_option
from dsetpack.formats.layout import LAYOUTS

if TYPE_CHECKING:
    from dsetpack.formats.card import Card
    from dsetpack.formats.layout import Layout


@click.command("edit")
@click.argument("file")
@out_option("The .dpk to write; by default FILE is replaced.")
@click.option("--title", help="The title of the pack.")
@click.option("--description", help="A text about the pack.")
@click.option("--license", metavar="NAME", help="The licence of the data, such as MIT or CC-BY-4.0.")
@click.option("--author", metavar="NAME", help="Who made the set.")
@click.option("--url", metavar="URL", help="Where the set comes from: an address.")
@click.option("--method", metavar="NAME", help="The method that made the set, such as dsa.")
@click.option(
    "--layout",
    type=Names(LAYOUTS),
    help="open: every axis has a name, which xarray and netCDF tools read, for 4 to 10 kB; plain: none has.",
)
@force_option
def command(file: str, out: Path | None, layout: Layout | None, force: bool, **said: str | None) -> None:
    """Change texts in the card of FILE, or name its axes for other HDF5 tools.

    FILE is replaced in one step, or left as it is if --out names another file. An empty text (--license "") removes it.
    Without options, the texts are shown as they are. What the stored numbers mean cannot be edited: shape, space,
    labels, classes. The digest changes, so a signature is dropped.
    """
    from dsetpack.cards.edit import described
    from dsetpack.formats import Reader
    from dsetpack.formats.errors import at
    from dsetpack.formats.outputs import PACK, check_output
    from dsetpack.formats.seal import recard
    from dsetpack.formats.signature import signer

    given, target = {field: text for field, text in said.items() if text is not None}, out or file
    if out is not None and not given and layout is None:
        raise click.UsageError(f"{out}: nothing to change; 'dsetpack edit {file}' shows what can be")
    with Reader(file) as reader:
        card, before, key = reader.manifest.card, reader.digest, signer(reader.header)
    if not given and layout is None:
        click.echo(_shown(file, card))
        return
    with at(file):
        changed = described(card, **given)
    if changed == card and out is None and layout is None:
        click.echo(f"{file}: its card says this already; nothing was written")
        return
    check_output(target, PACK, force=force)
    recard(file, changed, target, expect=before, layout=layout)
    with Reader(target) as reader:
        after, signed = reader.digest, signer(reader.header)
    if after == before:
        click.echo(f"{target}: the same as {file}, which is so already; digest {after}")
    else:
        what = [*given, *(["layout"] if layout else [])]
        click.echo(f"{target}: {', '.join(what)} changed; digest {after}, before {before}")
    if key is not None and signed is None:
        click.echo(f"{target}: not signed: the signature by key {key} was for the file as it was; sign it again")


def _shown(file: str, card: Card) -> str:
    """What can be edited, with the texts as they are."""
    from dsetpack.cards.edit import told
    from dsetpack.formats.model import printable

    rows = [f"  --{field:<12} {printable(text or '') or '(none)'}" for field, text in told(card).items()]
    return "\n".join([f"{file}: nothing to change; these texts of its card can be edited:", *rows])

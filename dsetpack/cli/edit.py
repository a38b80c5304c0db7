"""``dsetpack edit``: other texts in a pack's card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsetpack.cli.outputs import force_option, out_option

if TYPE_CHECKING:
    from dsetpack.formats.card import Card


@click.command("edit")
@click.argument("file")
@out_option("The .dpk to write; by default FILE is replaced.")
@click.option("--title", help="The title of the pack.")
@click.option("--description", help="A text about the pack.")
@click.option("--license", metavar="NAME", help="The licence of the data, such as MIT or CC-BY-4.0.")
@click.option("--author", metavar="NAME", help="Who made the set.")
@click.option("--url", metavar="URL", help="Where the set comes from: an address.")
@click.option("--method", metavar="NAME", help="The method that made the set, such as dsa.")
@force_option
def command(file: str, out: Path | None, force: bool, **said: str | None) -> None:
    """Change texts in the card of FILE.

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
    if out is not None and not given:
        raise click.UsageError(f"{out}: nothing to change; 'dsetpack edit {file}' shows what can be")
    with Reader(file) as reader:
        card, before, key = reader.manifest.card, reader.digest, signer(reader.header)
    if not given:
        click.echo(_shown(file, card))
        return
    with at(file):
        changed = described(card, **given)
    if changed == card and out is None:
        click.echo(f"{file}: its card says this already; nothing was written")
        return
    check_output(target, PACK, force=force)
    recard(file, changed, target, expect=before)
    with Reader(target) as reader:
        click.echo(f"{target}: {', '.join(given)} changed; digest {reader.digest}, before {before}")
    if key is not None:
        click.echo(f"{target}: not signed: the signature by key {key} was for the card as it was; sign it again")


def _shown(file: str, card: Card) -> str:
    """What can be edited, with the texts as they are."""
    from dsetpack.cards.edit import told
    from dsetpack.formats.model import printable

    rows = [f"  --{field:<12} {printable(text or '') or '(none)'}" for field, text in told(card).items()]
    return "\n".join([f"{file}: nothing to change; these texts of its card can be edited:", *rows])

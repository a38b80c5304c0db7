"""``dsetpack keygen``: a key pair for signing packs."""

from __future__ import annotations

from pathlib import Path

import click

from dsetpack.cli.outputs import OutputPath, one_output, out_option


@click.command("keygen")
@click.argument("key", type=OutputPath(), required=False)
@out_option("The private key to write, instead of KEY.")
def command(key: Path | None, out: Path | None) -> None:
    """Make a key pair for signing packs.

    KEY is the private key (Ed25519 as PEM, not encrypted, readable only by you), KEY.pub the public one, for others.
    An existing key is never replaced.
    """
    from dsetpack.formats.keys import key_id, new_key, spell_id

    key = one_output(key, out, "KEY")
    public = new_key(key)
    click.echo(f"{key}: the private key; whoever has it signs as you")
    click.echo(f"{key}.pub: the public key, {public.hex()}")
    click.echo(f"key id: {spell_id(key_id(public))}")

"""``dsetpack keygen``: a key pair for signing packs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("keygen")
@click.argument("key", type=click.Path(path_type=Path))
def command(key: Path) -> None:
    """Make an Ed25519 key pair: KEY is private (not encrypted, readable only by you), KEY.pub is for others."""
    from dsetpack.formats.keys import key_id, new_key, spell_id

    public = new_key(key)
    click.echo(f"{key}: the private key; whoever has it signs as you")
    click.echo(f"{key}.pub: the public key, {public.hex()}")
    click.echo(f"key id: {spell_id(key_id(public))}")

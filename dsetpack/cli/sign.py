"""``dsetpack sign``: a signature in a pack's header."""

from __future__ import annotations

from pathlib import Path

import click

from dsetpack.cli.options import InputPath


@click.command("sign")
@click.argument("file", type=InputPath)
@click.option(
    "--key",
    type=InputPath,
    required=True,
    help="An Ed25519 private key as PEM, from 'dsetpack keygen' or 'openssl genpkey -algorithm ed25519'.",
)
def command(file: Path, key: Path) -> None:
    """Check FILE and sign it, in place.

    Only its header changes, not its digest. A file holds one signature: an existing one is replaced.
    """
    from dsetpack.formats import Reader
    from dsetpack.formats.signature import signer
    from dsetpack.formats.signing import sign

    with Reader(file) as reader:
        before, digest = signer(reader.header), reader.digest
    identity = sign(file, key)
    click.echo(f"{file}: {digest} signed by key {identity}")
    if before not in (None, identity):
        click.echo(f"the signature of key {before} was replaced")

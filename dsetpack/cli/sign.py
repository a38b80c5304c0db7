"""``dsetpack sign``: a signature in a pack's header."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sign")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="An Ed25519 private key as PEM, from 'dsetpack keygen' or 'openssl genpkey -algorithm ed25519'.",
)
def command(file: Path, key: Path) -> None:
    """Check the whole of FILE and sign it in place. Its digest does not change; an existing signature is replaced."""
    from dsetpack.formats import Reader
    from dsetpack.formats.signature import signer
    from dsetpack.formats.signing import sign

    with Reader(file) as reader:
        before, digest = signer(reader.header), reader.digest
    identity = sign(file, key)
    click.echo(f"{file}: {digest} signed by key {identity}")
    if before not in (None, identity):
        click.echo(f"the signature of key {before} was replaced")

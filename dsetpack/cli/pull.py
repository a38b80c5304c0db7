"""``dsetpack pull``: a pack from a data set repository of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("pull")
@click.argument("repository", metavar="OWNER/NAME[@REVISION]")
@click.argument("file", required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write; by default FILE's own name.")
@click.option("--digest", help="The digest that the pack must have, sha256:...")
def command(repository: str, file: str | None, out: Path | None, digest: str | None) -> None:
    """Download FILE from a data set repository of the Hugging Face Hub, verify it, and only then write it.

    FILE may be left out if there is only one .dpk. This needs dsetpack[hub].
    """
    from dsetpack.hub import pull

    name, _, revision = repository.partition("@")
    done = pull(name, out, file=file, revision=revision or None, digest=digest)
    click.echo(f"{out or Path(done.file).name}: {done.size:,} bytes, verified")
    click.echo(f"{done.repository}@{done.revision}  {done.file}\ndigest {done.digest}")

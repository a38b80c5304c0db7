"""``dsetpack pull``: a pack from a data set repository of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click

from dsetpack.cli.outputs import force_option, out_option


@click.command("pull")
@click.argument("repository", metavar="OWNER/NAME[@REVISION]")
@click.argument("file", required=False)
@out_option("The pack to write; by default FILE's own name, in the current folder.")
@click.option("--digest", metavar="sha256:...", help="The digest that the pack must have.")
@force_option
def command(repository: str, file: str | None, out: Path | None, digest: str | None, force: bool) -> None:
    """Download a pack from the Hugging Face Hub, verified.

    FILE is its name in the data set repository OWNER/NAME; it may be left out if there is only one .dpk. The pack is
    written only after all of it was verified. This needs dsetpack[hub].
    """
    from dsetpack.hub import pull

    name, _, revision = repository.partition("@")
    done = pull(name, out, file=file, revision=revision or None, digest=digest, force=force)
    click.echo(f"{out or Path(done.file).name}: {done.size:,} bytes, verified")
    click.echo(f"{done.repository}@{done.revision}  {done.file}\ndigest {done.digest}")

"""``dsetpack push``: a pack into a data set repository of the Hugging Face Hub."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("push")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--revision", help="The branch to commit to, made if there is none; by default the main one.")
@click.option("--private", is_flag=True, help="A new repository is private; one that is there must be.")
def command(file: Path, repository: str, revision: str | None, private: bool) -> None:
    """Verify FILE and upload it to a data set repository of the Hugging Face Hub, with its card, in one commit.

    Needs dsetpack[hub], and a token: 'hf auth login' or HF_TOKEN.
    """
    from dsetpack.hub import CARD, push

    done = push(file, repository, revision=revision, private=private)
    pinned = f"{done.repository}@{done.revision}"
    click.echo(f"{done.url}\nrevision {done.revision}\ndigest   {done.digest}\n")
    name = shlex.quote(done.file)
    click.echo(f"dsetpack pull {pinned} {name} -o {name} --digest {done.digest}")
    click.echo(f'dsetpack.open("hf://datasets/{pinned}/{done.file}", digest="{done.digest}")')
    if not done.card:
        click.echo(f"\n{CARD} stays as it is: it is not the card of {done.file}. 'dsetpack card {file}' prints that.")

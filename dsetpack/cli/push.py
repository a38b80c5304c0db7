"""``dsetpack push``: upload of a pack to a data set repository of the Hugging Face Hub."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from dsetpack.cli.options import InputPath


@click.command("push")
@click.argument("file", type=InputPath)
@click.argument("repository", metavar="OWNER/NAME")
@click.option(
    "--revision",
    metavar="BRANCH",
    help="The branch to commit to, created if it does not exist; by default the main branch.",
)
@click.option("--private", is_flag=True, help="Create a private repository; if it exists, it must be private.")
def command(file: Path, repository: str, revision: str | None, private: bool) -> None:
    """Upload FILE and its card to the Hugging Face Hub.

    FILE is verified first. Both go into the data set repository OWNER/NAME, in one commit. This needs dsetpack[hub],
    and a token: 'hf auth login' or HF_TOKEN.
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

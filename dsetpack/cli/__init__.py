"""The command line: the top floor. Each command is a module here, which is imported only when it is called."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from typing import Any

import click

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.notices import Notice
from dsetpack.formats.progress import shown

_COMMANDS = {
    "info": "info",
    "verify": "verify",
    "diff": "diff",
    "keygen": "keygen",
    "sign": "sign",
    "preview": "preview",
    "export": "export",
    "card": "card",
    "edit": "edit",
    "push": "push",
    "pull": "pull",
    "convert": "convert",
    "unpack": "unpack",
    "distill": "distill",
    "recipes": "recipes",
    "eval": "evaluate",
    "reproduce": "reproduce",
    "score": "score",
    "audit": "audit",
    "demo": "demo",
}


_python = warnings.showwarning


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"dsetpack.cli.{_COMMANDS[cmd_name]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from dsetpack.trainers.progress import display

        first = os.environ.get("RANK", "0") == "0"  # of several processes, one shows its progress
        ctx.with_resource(shown(display(args[0]) if first else None))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # not every code page has all characters that we print
        warnings.showwarning = _show
        try:
            return super().invoke(ctx)
        except (DsetpackError, OSError) as error:
            click.echo(f"error: {message(error)}", err=True)
            sys.exit(1)
        except KeyboardInterrupt as stop:
            click.echo(str(stop) or "interrupted", err=True)
            sys.exit(130)


def _show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Print a notice as one line; other warnings as Python does."""
    if issubclass(category, Notice):
        click.echo(f"note: {message}", err=True)
    else:
        _python(message, category, *place, **more)


def message(error: Exception) -> str:
    """Show an error as one line for people."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dsetpack")
def main() -> None:
    """Distilled datasets as files: make them, check them, look at them, and train on them."""

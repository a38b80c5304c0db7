"""The command line: the top floor. Each command is a module here, which is imported only when it is called."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from typing import Any

import click

from dsetpack.formats.by_name import closest, spelled
from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.notices import Notice
from dsetpack.formats.progress import shown

_GROUPS = {
    "Make a pack": ("distill", "convert", "recipes", "demo"),
    "Look at a pack": ("info", "preview", "diff"),
    "Measure a pack": ("eval", "reproduce", "score", "audit"),
    "Take it elsewhere": ("unpack", "export", "card", "edit", "push", "pull"),
    "Trust it": ("verify", "sign", "keygen"),
}
_MODULES = {"eval": "evaluate"}
"""The modules of commands that have another name."""
_COMMANDS = {name: _MODULES.get(name, name) for names in _GROUPS.values() for name in names}
_MEANT = {
    "check": "verify",
    "compare": "diff",
    "describe": "card",
    "download": "pull",
    "extract": "unpack",
    "import": "convert",
    "inspect": "info",
    "key": "keygen",
    "list": "recipes",
    "onnx": "export",
    "show": "info' or 'preview",
    "test": "eval",
    "train": "distill' or 'eval",
    "upload": "push",
    "validate": "verify",
    "view": "preview",
}
"""Other words for commands, and what to call."""

_python = warnings.showwarning


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands group by group, with whole summaries: the first sentence of each command's help."""
        width = max(map(len, _COMMANDS))
        for title, names in _GROUPS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), self._summary(ctx, name)) for name in names]
                formatter.write_dl(rows)

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit=200)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; if there is none of that name, say which is meant."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            meant = spelled(_COMMANDS, name) or _MEANT.get(name.casefold()) or closest(_COMMANDS, name, 0.6)
            hint = f" Did you mean '{meant}'?" if meant else ""
            ctx.fail(f"No such command '{name}'.{hint}")
        from dsetpack.trainers.progress import display

        first = os.environ.get("RANK", "0") == "0"  # of several processes, one shows its progress
        ctx.with_resource(shown(display(name) if first else None))
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"dsetpack.cli.{_COMMANDS[cmd_name]}").command
        return command

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

"""The options that name what a command writes, and the kinds of files that commands write besides packs.

Every command that writes checks ``dsetpack.formats.outputs.check_output`` before it works.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dsetpack.formats.outputs import Kind

F = TypeVar("F", bound=Callable[..., Any])
SHIPPED = Path(__file__).parents[1] / "data"
"""The folder of the sample that ships, which is read by its name."""

PICTURE = Kind("a PNG image", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"))
PAGE = Kind("an HTML page", lambda head: head.lstrip().lower().startswith(b"<!doctype html"))
CARD = Kind("a card that dsetpack wrote", lambda head: b"\n<!-- dsetpack card of " in head)
CROISSANT = Kind(
    "Croissant metadata", lambda head: head.startswith(b"{") and b"http://mlcommons.org/croissant/" in head
)
MODEL = Kind("a model that dsetpack exported", lambda head: head[2:].startswith(b"\x12\x08dsetpack"))


class OutputPath(click.Path):
    """The type of every parameter that names what a command writes. ``-`` is no file, unless ``printed`` allows it."""

    def __init__(self, *, printed: bool = False) -> None:
        super().__init__(path_type=Path)
        self._printed = printed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make a ``Path`` of it."""
        if os.fspath(value) == "-" and not self._printed:
            self.fail("'-': the result cannot be printed; name a file (./- is one of that name)", param, ctx)
        return super().convert(value, param, ctx)


def out_option(what: str, *more: str, printed: bool = False, **settings: Any) -> Callable[[F], F]:
    """Add ``-o/--out``.

    Args:
        what: its help.
        more: further names of the option, and the name of the argument if it is not ``out``.
        printed: whether ``-`` prints the result.
        settings: as for ``click.option``.
    """
    return click.option("-o", "--out", *more, type=OutputPath(printed=printed), help=what, **settings)


def force_option(command: F) -> F:
    """Add ``--force``."""
    words = "Replace an existing file of another kind, too, but never one that is read here."
    return click.option("--force", is_flag=True, help=words)(command)


def one_output(argument: Path | None, option: Path | None, name: str) -> Path:
    """The output, which may be given as the argument ``name`` or by ``--out``.

    Raises:
        click.UsageError: if it is given twice, or not at all.
    """
    if argument is not None and option is not None:
        raise click.UsageError(f"{name} and --out mean the same: give one of them")
    found = argument or option
    if found is None:
        raise click.UsageError(f"Missing argument '{name}', which -o/--out may give, too.")
    return found


def data_root(root: Path | None) -> str | Path | None:
    """The folder that holds data sets by name."""
    return root or os.environ.get("DSETPACK_DATA")

"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from dsetpack.cli import index
from dsetpack.formats.by_name import spelled
from dsetpack.formats.presets import PRESETS

F = TypeVar("F", bound=Callable[..., Any])
InputPath = click.Path(path_type=Path)


class Sections(click.Command):
    """A command with many options, whose help shows them in sections.

    Args:
        sections: the names of options (of their parameters), by section, in order. All others come last.
    """

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (*self._sections, "Options")}
        titles = {name: title for title, names in self._sections.items() for name in names}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (row := option.get_help_record(ctx)) is not None:
                rows[titles.get(option.name or "", "Options")].append(row)
        for title, found in rows.items():
            with formatter.section(title):
                formatter.write_dl(found)


class Names(click.Choice):  # type: ignore[type-arg]  # not generic before click 8.4
    """A choice of names; see ``spelled``: case does not count."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Find the name."""
        return super().convert(spelled(self.choices, value) or value, param, ctx)


def data_options(required: bool = True) -> Callable[[F], F]:
    """Add the options ``--data`` and ``--root``, and ``--axes`` and ``--drop-alpha``, which ``load`` takes by name."""

    def add(command: F) -> F:
        command = click.option("--drop-alpha", is_flag=True, help="Drop the alpha channel of the images in DATA.")(
            command
        )
        command = click.option(
            "--axes",
            type=Names(["NCHW", "NHWC"]),
            help="The order of the axes of the arrays in DATA; by default their shape decides.",
        )(command)
        command = root_option(command)
        names = ", ".join(index.read().data)
        words = (
            f"A data set by name ({names}), or a path: an .npz with x_train, y_train, x_test, y_test, or images and "
            "labels; a folder of .npy files with those names; a folder of IDX files, or of the files of such a data "
            "set; a folder with one sub-folder of images per class, or with such folders in train/ and test/; a .dpk "
            "of images."
        )
        return click.option("--data", required=required, metavar="NAME|PATH", help=words)(command)

    return add


def root_option(command: F) -> F:
    """Add ``--root``."""
    words = "The folder that holds data sets by name, or torchvision's folders of them; by default $DSETPACK_DATA."
    return click.option("--root", type=InputPath, help=words)(command)


def encoding_option(command: F) -> F:
    """Add ``--encoding``."""
    words = "How to store tensors: every bit, as 16-bit floats, or in 8 or 4 bits."
    return click.option("--encoding", default="exact", show_default=True, type=Names(PRESETS), help=words)(command)


def device_option(command: F) -> F:
    """Add ``--device``."""
    words = "Where to compute: cpu, cuda (or gpu), cuda:1, ..."
    return click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help=words)(command)


def per_class_option(command: F) -> F:
    """Add ``--per-class``."""
    words = "Images per class of a generator; by default the card's number."
    return click.option("--per-class", type=click.IntRange(1), metavar="N", help=words)(command)


def settings_option(what: str) -> Callable[[F], F]:
    """Make the option ``--set key=value``, which may be repeated; values are JSON, or otherwise text."""
    return click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", callback=_settings, help=what)


def _settings(_ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r}: KEY=VALUE expected")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found

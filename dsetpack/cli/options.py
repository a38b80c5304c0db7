"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def data_options(required: bool = True) -> Callable[[F], F]:
    """Add the options ``--data`` and ``--root``, and ``--axes`` and ``--drop-alpha``, which ``load`` takes by name."""

    def add(command: F) -> F:
        command = click.option("--drop-alpha", is_flag=True, help="Drop the alpha channel of the images in DATA.")(
            command
        )
        command = click.option(
            "--axes",
            type=click.Choice(["NCHW", "NHWC"], case_sensitive=False),
            help="The order of the axes of the arrays in DATA; by default their shape decides.",
        )(command)
        command = click.option(
            "--root",
            type=click.Path(path_type=Path),
            help="Folder that holds the data; by default $DSETPACK_DATA.",
        )(command)
        return click.option("--data", required=required, cls=_DataOption)(command)

    return add


class _DataOption(click.Option):
    """An option whose help lists the known data sets; they are looked for only then, because readers import torch."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from dsetpack.trainers.data import data_names

        self.help = (
            f"A data set by name ({', '.join(data_names())}), or a path: an .npz with x_train, y_train, x_test, "
            "y_test, or images and labels; a folder of .npy files with those names; a folder of IDX files; a folder "
            "with one sub-folder of images per class, or with such folders in train/ and test/; a .dpk of images."
        )
        return super().get_help_record(ctx)


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

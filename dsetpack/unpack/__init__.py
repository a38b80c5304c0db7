"""Packs as plain files for other tools: one form per module, found by its name.

    from dsetpack.unpack import unpack
    unpack(pack, "folder", as_="png")

``dsetpack.convert`` reads ``png`` and ``safetensors`` back: the former with 8 bits, the latter exactly.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from dsetpack.formats.by_name import by_name, chosen
from dsetpack.formats.errors import FormatError
from dsetpack.pack.pack import Pack
from dsetpack.unpack.base import new_folder

__all__ = ["form_names", "unpack"]


def form_names() -> tuple[str, ...]:
    """The names of all forms, sorted."""
    return tuple(by_name(__name__, "FORM"))


def unpack(
    pack: Pack, folder: str | os.PathLike[str], *, as_: str = "png", space: Literal["pack", "raw"] | None = None
) -> Path:
    """Write every decoded image of a pack, with its label, as plain files.

    Args:
        pack: any pack; the images of ``generator`` parts are those of seed 0 and epoch 0.
        folder: a new or empty folder. The files are written into a temporary folder beside it, which is then renamed,
            so the folder is complete or absent.
        as_: ``png`` (8-bit files and ``labels.csv``), ``safetensors`` (floats) or ``hf`` (a Parquet table).
        space: only for ``safetensors``: ``pack`` for the pack's own space (the default), or ``raw``.

    Returns:
        the folder. If 8-bit files had to clip values to [0, 1], a notice says how many, and by how much at most.

    Raises:
        FormatError: if the form does not exist, or if it cannot hold the images.
        DsetpackError: if the folder is not empty, if raw values are needed and the pack keeps only the recipe of its
            ZCA (pass ``pack.with_space(Zca.refit(...))``), or if an optional package is missing.
        OSError: if the folder cannot be written.
    """
    write = chosen(by_name(__name__, "FORM"), as_, "form")
    if space is not None and as_ != "safetensors":
        raise FormatError(f"space is for 'safetensors'; {as_!r} holds raw 8-bit images")
    options: dict[str, Any] = {} if space is None else {"space": space}
    with new_folder(folder) as filling:
        write(pack, filling, **options)
    return Path(folder)

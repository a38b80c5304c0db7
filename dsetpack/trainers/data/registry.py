"""``load``: read data by name or by path, with the reader that knows it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dsetpack.formats.by_name import by_name, closest, spelled
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data.reader import DataReader, ImageData, check_split

ROOT = "DSETPACK_DATA"
"""The environment variable that names the folder of data sets."""
_HELPERS = ("corrupt", "corruptions", "matlab", "reader", "registry", "torchset")


@cache
def _readers() -> tuple[DataReader, ...]:
    found: Mapping[str, tuple[DataReader, ...]] = by_name("dsetpack.trainers.data", "READERS", _HELPERS)
    return tuple(sorted((reader for readers in found.values() for reader in readers), key=lambda reader: reader.last))


def data_names() -> tuple[str, ...]:
    """The data sets that ``load`` knows by name, sorted."""
    return tuple(sorted(name for reader in _readers() for name in reader.names))


def load(name_or_path: str | Path, root: str | Path | None = None, split: str = "train") -> ImageData:
    """Read real images.

    Args:
        name_or_path: a name of ``data_names()``, or a path: an ``.npz`` file, a folder with one sub-folder of images
            per class (or ``train`` and ``test`` folders of those), a folder of IDX files, a ``.dpk`` of images, or the
            folder with the files of a data set known by name. ``CIFAR10`` is ``cifar10`` if there is no such path.
        root: for a name: the folder that holds the data set's files or a folder of that name with them; None for the
            environment variable ``DSETPACK_DATA``.
        split: ``train`` or ``test``.

    Raises:
        FormatError: if the name is unknown, files are missing, or files are not in the expected format. If files are
            missing, the message says which ones were looked for, and where.
    """
    check_split(split)
    named = {name: reader for reader in _readers() for name in reader.names}
    said, path = str(name_or_path), Path(name_or_path)
    name = said if said in named or path.exists() else spelled(named, said)
    if name in named:
        return named[name].load(name, _root(root), split)
    if not path.exists():
        raise FormatError(_unknown(str(name_or_path), tuple(named)))
    for reader in _readers():
        if reader.accepts(path):
            return reader.read(path, split)
    raise FormatError(
        f"{path}: not a form of data known here; expected an .npz or .dpk file, a folder of IDX files, "
        "or a folder with one sub-folder of images per class"
    )


def _root(root: str | Path | None) -> Path | None:
    root = root or os.environ.get(ROOT)
    if root is None:
        return None
    if not Path(root).is_dir():
        raise FormatError(f"{root}: no such folder; --root (or {ROOT}) names the folder that holds the data")
    return Path(root)


def _unknown(name: str, names: tuple[str, ...]) -> str:
    near = closest(names, name, 0.6)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{name!r} is neither a data set known by name ({', '.join(sorted(names))}) nor an existing path{hint}"

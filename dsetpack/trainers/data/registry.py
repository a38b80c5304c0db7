"""``load``: read data by name or by path, with the reader that knows it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from dsetpack.files.splits import Split
from dsetpack.formats.axes import Axes
from dsetpack.formats.by_name import by_name, closest, spelled
from dsetpack.formats.errors import FormatError
from dsetpack.formats.progress import steps
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


def load(
    name_or_path: str | Path,
    root: str | Path | None = None,
    split: str = "train",
    *,
    axes: Axes | None = None,
    drop_alpha: bool = False,
) -> ImageData:
    """Read real images.

    Args:
        name_or_path: a name of ``data_names()``, or a path: an ``.npz`` file or a folder of ``.npy`` files with images
            and labels under usual names (``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``images``, ``labels``),
            a folder with one sub-folder of images per class (or ``train`` and ``test`` folders of those), a folder of
            IDX files, a ``.dpk`` of images, or the folder with the files of a data set known by name. ``CIFAR10`` is
            ``cifar10`` if there is no such path.
        root: for a name: the folder that holds the data set's files, a folder of that name with them, or those that
            torchvision makes (``cifar-10-batches-py``, ``MNIST/raw``, ...); None for the environment variable
            ``DSETPACK_DATA``.
        split: ``train`` or ``test``.
        axes: only for arrays: the order of their axes, ``NCHW`` or ``NHWC``; by default the shape decides.
        drop_alpha: only for arrays and image files: drop the alpha channel (of arrays: the last of 2 or 4 channels).

    Raises:
        FormatError: if the name is unknown, files are missing, or files are not in the expected format. If files are
            missing, the message says which ones were looked for, and where.
        FormatError: if arrays can be read in both orders of axes, if image files have transparent pixels that nobody
            said to drop, or if ``axes`` or ``drop_alpha`` do not apply.
    """
    wanted = check_split(split)
    said = {"axes": axes, "drop_alpha": drop_alpha or None}
    with steps(f"read {name_or_path}"):
        return _read(name_or_path, root, wanted, {name: value for name, value in said.items() if value is not None})


def _read(name_or_path: str | Path, root: str | Path | None, wanted: Split, declared: Mapping[str, Any]) -> ImageData:
    named = {name: reader for reader in _readers() for name in reader.names}
    said, path = str(name_or_path), Path(name_or_path)
    name = said if said in named or path.exists() else spelled(named, said)
    if name in named:
        _check_taken(declared, (), name)
        return named[name].load(name, _root(root), wanted)
    if not path.exists():
        raise FormatError(_unknown(str(name_or_path), tuple(named)))
    for reader in _readers():
        if reader.accepts(path):
            _check_taken(declared, reader.takes, str(path))
            return reader.read(path, wanted, **declared)
    raise FormatError(
        f"{path}: not a form of data known here; expected an .npz or .dpk file, or a folder of .npy or IDX files, of a "
        "data set known by name, or with one sub-folder of images per class"
    )


def _check_taken(declared: Mapping[str, object], takes: Sequence[str], where: str) -> None:
    if others := [name for name in declared if name not in takes]:
        raise FormatError(f"{where}: {others[0]} does not apply to this form of data; leave it out")


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

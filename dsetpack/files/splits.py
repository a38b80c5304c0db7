"""The splits of a set, ``train`` and ``test``: their usual names, their folders, and which one is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice

Split = Literal["train", "test"]

SPLITS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
"""The usual names of each split, without regard to case; of several, the first is taken."""


def taken(held: Collection[Split], wanted: Split | None, where: str) -> Split:
    """The split to read: the wanted one, otherwise ``train``, otherwise the only one.

    If none is wanted, a notice says which one is read, except for ``train`` where there is no other.

    Args:
        held: the splits that are there, at least one.
        wanted: the split to read; None if the user leaves it open.
        where: what holds the splits, for messages.

    Raises:
        FormatError: if the wanted split is not held.
    """
    first, *others = (split for split in SPLITS if split in held)
    if wanted is None:
        if others:
            notice(
                f"{where}: the split {first!r} is read; pass split='{others[0]}' (--split {others[0]}) for the other"
            )
        elif first != "train":
            notice(f"{where}: the split {first!r} is read; its only one")
        return first
    if wanted not in held:
        raise FormatError(f"{where}: it has a split {first!r}, but none of {', '.join(SPLITS[wanted])}")
    return wanted


def subfolders(path: Path) -> list[Path]:
    """The visible folders in a folder."""
    return [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]


def split_folders(path: Path) -> dict[Split, Path]:
    """The folder of each split; empty if the folder has no splits.

    A sub-folder with the name of a split is one if any such folder has sub-folders (those of classes), or if there are
    no other sub-folders. Otherwise it is a class of that name.
    """
    children = {child.name.lower(): child for child in sorted(subfolders(path), reverse=True)}
    held = {split: [children[word] for word in words if word in children] for split, words in SPLITS.items()}
    found = {split: folders[0] for split, folders in held.items() if folders}
    others = set(children).difference(*SPLITS.values())
    return {} if others and not any(map(subfolders, found.values())) else found

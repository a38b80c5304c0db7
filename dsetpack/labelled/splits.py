"""The splits of a folder or of named arrays: ``train`` and ``test``, under their usual names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import printable
from dsetpack.formats.notices import notice

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
"""The names of each split, without regard to case; of several, the first is taken."""

IMAGES, LABELS = ("images", "image", "x", "data"), ("labels", "label", "y", "targets")
"""The names of arrays of images and of labels, without regard to case."""


class Pair(NamedTuple):
    """The names of an array of images and of its labels."""

    images: str
    labels: str | None


def taken(held: Iterable[str], wanted: str | None, where: str) -> str:
    """The split to read: the wanted one, otherwise ``train``, otherwise the only one; the last two with a notice.

    Raises:
        FormatError: if the wanted split is not held.
    """
    known = sorted(held, reverse=True)
    if wanted is None:
        others = f"pass split={known[1]!r} (--split {known[1]}) for the other" if len(known) > 1 else "its only one"
        notice(f"{where}: the split {known[0]!r} is read; {others}")
        return known[0]
    if wanted not in known:
        raise FormatError(f"{where}: it has a split {known[0]!r}, but none of {', '.join(SPLITS[wanted])}")
    return wanted


def subfolders(path: Path) -> list[Path]:
    """The visible folders in a folder."""
    return [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]


def split_folders(path: Path) -> dict[str, Path]:
    """The folder of each split; empty if the folder has no splits.

    A sub-folder with the name of a split is one if any such folder has sub-folders (those of classes), or if there are
    no other sub-folders. Otherwise it is a class of that name.
    """
    children = {child.name.lower(): child for child in sorted(subfolders(path), reverse=True)}
    held = {split: [children[word] for word in words if word in children] for split, words in SPLITS.items()}
    found = {split: folders[0] for split, folders in held.items() if folders}
    others = set(children).difference(*SPLITS.values())
    return {} if others and not any(map(subfolders, found.values())) else found


def named_arrays(names: Iterable[str], split: str | None, where: str) -> tuple[Pair, str | None]:
    """Find the arrays of a split (``x_train``, ``test_images``), or those of a set without splits (``images``).

    Args:
        names: the names of all arrays.
        split: the split to read; None for ``train``, or for the only one, with a notice. Arrays without a split are
            their own ``train``.
        where: what holds the arrays, for messages.

    Returns:
        the names of the arrays, and their split; None if there are no splits.

    Raises:
        FormatError: if there are no images, or not those of the split.
    """
    held = tuple(names)
    if (plain := _pair(held)) is not None and split != "test":
        return plain, None
    splits = split_arrays(held)
    if splits:
        chosen = taken(splits, split, where)
        return splits[chosen], chosen
    known = printable(", ".join(sorted(held))) or "nothing"
    if plain is not None:
        raise FormatError(f"{where}: the test split needs arrays such as x_test and y_test; it holds {known}")
    raise FormatError(f"{where}: no array of images ({', '.join(IMAGES)}, or x_train); it holds {known}")


def split_arrays(names: Iterable[str]) -> dict[str, Pair]:
    """The arrays of each split; empty if there are no splits."""
    held = tuple(names)
    named = {split: [_pair(held, f"_{word}", f"{word}_") for word in words] for split, words in SPLITS.items()}
    return {split: next(filter(None, pairs)) for split, pairs in named.items() if any(pairs)}


def _pair(names: Iterable[str], suffix: str = "", prefix: str = "") -> Pair | None:
    """The arrays of images and labels under their usual names, which end or begin with the split; None if no images."""
    known = {name.lower(): name for name in names}

    def first(words: tuple[str, ...]) -> str | None:
        spelled = (name for word in words for name in (word + suffix, prefix + word))
        return next((known[name] for name in spelled if name in known), None)

    images = first(IMAGES)
    return None if images is None else Pair(images, first(LABELS))

"""The splits of a folder or of named arrays: ``train`` and ``test``, under their usual names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from dsetpack.formats.errors import FormatError
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
    named = {
        split: next((children[word] for word in words if word in children), None) for split, words in SPLITS.items()
    }
    found = {split: folder for split, folder in named.items() if folder is not None}
    others = set(children).difference(*SPLITS.values())
    return {} if others and not any(map(subfolders, found.values())) else found


def split_arrays(names: Iterable[str]) -> dict[str, Pair]:
    """The arrays of each split, such as ``x_train`` or ``train_images``; empty if there are no splits."""
    known = {name.lower(): name for name in names}
    named = {split: [_pair(known, f"_{word}", f"{word}_") for word in words] for split, words in SPLITS.items()}
    return {split: next(filter(None, pairs)) for split, pairs in named.items() if any(pairs)}


def plain_arrays(names: Iterable[str]) -> Pair | None:
    """The arrays of images and of labels without a split, such as ``images`` and ``labels``; None without images."""
    return _pair({name.lower(): name for name in names})


def _pair(known: Mapping[str, str], suffix: str = "", prefix: str = "") -> Pair | None:
    """The arrays of images and labels whose names end or begin with the split."""

    def first(words: tuple[str, ...]) -> str | None:
        spelled = (name for word in words for name in (word + suffix, prefix + word))
        return next((known[name] for name in spelled if name in known), None)

    images = first(IMAGES)
    return None if images is None else Pair(images, first(LABELS))

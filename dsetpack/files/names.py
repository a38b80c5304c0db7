"""The usual names of arrays of images and labels: ``images`` and ``labels``, ``x_train`` and ``y_train``, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dsetpack.files.splits import SPLITS, Split, taken
from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import printable

IMAGES = ("images", "image", "x", "data")
LABELS = ("labels", "label", "y", "targets")
"""Names of images and of labels, without regard to case; those at the same place usually go together."""
CLASSES = "classes"

_EXPECTED = f"{', '.join(IMAGES)}, x_train, train_images or the like"


class Usual(NamedTuple):
    """The names of the arrays of a set, as they are spelled.

    Attributes:
        images: the name of the images.
        labels: the name of their labels; None if there are none.
        classes: the name of the class names; None if there are none.
    """

    images: str
    labels: str | None
    classes: str | None


class Spelling(NamedTuple):
    """One way to name images and their labels.

    Attributes:
        split: the split that the names say; None if they say none.
        forms: how names are spelled: that of the images first, such as ``{}_train``, then the other of the same word.
        place: the place of the name in ``IMAGES``.
    """

    split: Split | None
    forms: tuple[str, ...]
    place: int

    @property
    def images(self) -> str:
        """The name of the images."""
        return self.forms[0].format(IMAGES[self.place])

    @property
    def labels(self) -> str:
        """The name of the labels that goes with that of the images."""
        return self.forms[0].format(LABELS[self.place])

    def held_labels(self, held: Mapping[str, str]) -> str | None:
        """The name of the labels, as it is spelled, if they are held; the one that goes with the images comes first."""
        wanted = (form.format(label) for form in self.forms for label in (LABELS[self.place], *LABELS))
        return next((held[name] for name in wanted if name in held), None)


_WORDS = tuple((split, f"{{}}_{word}", f"{word}_{{}}") for split, words in SPLITS.items() for word in words)
_FORMS: tuple[tuple[Split | None, tuple[str, ...]], ...] = (
    *((split, forms) for split, after, before in _WORDS for forms in ((after, before), (before, after))),
    (None, ("{}",)),
)
_SPELLINGS = tuple(Spelling(split, forms, place) for split, forms in _FORMS for place in range(len(IMAGES)))
"""All spellings; of several that are held, the first is taken."""


def usual(names: Iterable[str], split: Split | None, where: str, like: str | None = None) -> tuple[Usual, Split | None]:
    """Find the arrays of a split (``x_train``, ``test_images``), or those of a set without splits (``images``).

    Args:
        names: the names of all arrays.
        split: the split to read; None if ``dsetpack.files.splits.taken`` shall choose. Where no name says a split, all
            images are training images.
        where: what holds the arrays, for messages.
        like: the name of images, in any split, whose like are wanted; None for any usual name.

    Returns:
        the names of the arrays, and their split; None if there are no splits.

    Raises:
        FormatError: if there are no images, or not those of the split, or if ``like`` is no usual name.
    """
    held = _spelled(names)
    found = _splits(held, like)
    known = printable(", ".join(sorted(set(held.values())))) or "nothing"
    if not found:
        raise FormatError(f"{where}: no array of images: {_EXPECTED} expected; it holds {known}")
    if not any(spelling.split for spelling in found.values()):
        if split == "test":
            raise FormatError(f"{where}: the test split needs arrays such as x_test and y_test; it holds {known}")
        return _usual(found["train"], held), None
    chosen = taken(found, split, where)
    return _usual(found[chosen], held), chosen


def usual_splits(names: Iterable[str], like: str | None = None) -> dict[Split, Usual]:
    """The arrays of each split. Images whose name says no split are those of ``train``, if no others are.

    Raises:
        FormatError: if ``like`` is no usual name.
    """
    held = _spelled(names)
    return {split: _usual(spelling, held) for split, spelling in _splits(held, like).items()}


def images_in(names: Iterable[str]) -> tuple[str, ...]:
    """The names that are usual for images, of any split."""
    return tuple(name for name in names if _found(name))


def split_of(images: str) -> Split | None:
    """The split that a name of images says; None if it says none."""
    spelling = _found(images)
    return spelling.split if spelling else None


def labels_name(images: str) -> str:
    """The most usual name of the labels of images with this name, such as ``y_train`` for ``x_train``.

    Raises:
        FormatError: if the images have no usual name.
    """
    return _spelling(images).labels


def labels_for(images: str, names: Iterable[str]) -> str | None:
    """The name of the labels that usually go with images of this name; None if there are none."""
    spelling = _found(images)
    return None if spelling is None else spelling.held_labels(_spelled(names))


def _splits(held: Mapping[str, str], like: str | None) -> dict[Split, Spelling]:
    """The first spelling of the images of each split that is held."""
    spellings: Iterable[Spelling] = _SPELLINGS
    if like is not None:
        liked = _spelling(like)
        spellings = sorted((one for one in _SPELLINGS if one.place == liked.place), key=lambda one: one != liked)
    found: dict[Split, Spelling] = {}
    for spelling in spellings:
        if spelling.images in held:
            found.setdefault(spelling.split or "train", spelling)
    return found


def _usual(spelling: Spelling, held: Mapping[str, str]) -> Usual:
    return Usual(held[spelling.images], spelling.held_labels(held), held.get(CLASSES))


def _spelled(names: Iterable[str]) -> dict[str, str]:
    """Each name by itself and by its small letters; a name in small letters is found before one in capitals."""
    names = tuple(names)
    return {name.lower(): name for name in names} | {name: name for name in names}


def _found(images: str) -> Spelling | None:
    return next((spelling for spelling in _SPELLINGS if spelling.images == images.lower()), None)


def _spelling(images: str) -> Spelling:
    found = _found(images)
    if found is None:
        raise FormatError(f"{printable(images)!r} is no usual name of images; {_EXPECTED} expected")
    return found

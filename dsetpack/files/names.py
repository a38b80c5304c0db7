"""The usual names of images, labels and splits in files of arrays: ``images`` and ``labels``, ``x_train``, ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import printable

Split = Literal["train", "test"]

IMAGES = ("images", "image", "x", "data")
LABELS = ("labels", "label", "y", "targets")
"""Names of images and of labels; those at the same place usually go together."""
CLASSES = "classes"
SPLITS: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""The usual names of each split, the most usual first."""

_EXPECTED = f"{', '.join(IMAGES)}, x_train, train_images or the like"


class Spelling(NamedTuple):
    """One way to name images and their labels.

    Attributes:
        split: the split that the names say; None if they say none.
        form: how a name is spelled: ``{}_train``, ``train_{}``, ..., or ``{}``.
        place: the place of the name in ``IMAGES``.
    """

    split: Split | None
    form: str
    place: int

    @property
    def images(self) -> str:
        """The name of the images."""
        return self.form.format(IMAGES[self.place])

    def labels(self, held: Mapping[str, str]) -> str | None:
        """The name of the labels, as it is spelled, if it is held; the one that goes with the images comes first."""
        wanted = (self.form.format(label) for label in (LABELS[self.place], *LABELS))
        return next((held[name] for name in wanted if name in held), None)


_FORMS: tuple[tuple[Split | None, str], ...] = (
    *((split, form) for split, words in SPLITS.items() for word in words for form in (f"{{}}_{word}", f"{word}_{{}}")),
    (None, "{}"),
)
_SPELLINGS = tuple(Spelling(split, form, place) for split, form in _FORMS for place in range(len(IMAGES)))


class Usual(NamedTuple):
    """The names of the arrays of a data set, as they are spelled.

    Attributes:
        images: the name of the images.
        labels: the name of their labels; None if there are none.
        classes: the name of the class names; None if there are none.
    """

    images: str
    labels: str | None
    classes: str | None


def usual(names: Iterable[str], split: Split = "train", like: str | None = None) -> Usual:
    """Find the images and labels of a split by their usual names, in capital or small letters.

    Args:
        names: the names of all arrays.
        split: the split to find. Where no name says a split, all images are training images.
        like: the name of images, in any split, whose like are wanted; None for any usual name.

    Raises:
        FormatError: if there are no images of that split, or if ``like`` is no usual name.
    """
    held = _spelled(names)
    spellings = [spelling for spelling in _SPELLINGS if (spelling.split or "train") == split]
    if like is not None:
        liked = _spelling(like)
        spellings = [spelling for spelling in spellings if spelling.place == liked.place]
        spellings.sort(key=lambda spelling: spelling != liked)
    for spelling in spellings:
        if images := held.get(spelling.images):
            return Usual(images, spelling.labels(held), held.get(CLASSES))
    known = printable(", ".join(sorted(set(held.values())))) or "nothing"
    raise FormatError(f"{_missing(held, split)}; it holds {known}")


def images_in(names: Iterable[str]) -> tuple[str, ...]:
    """The names that are usual for images, of any split."""
    return tuple(name for name in names if _found(name))


def splits_of(names: Iterable[str]) -> tuple[Split, ...]:
    """The splits whose images have a name that says so, train first."""
    found = {spelling.split for name in names if (spelling := _found(name))}
    return tuple(split for split in SPLITS if split in found)


def labels_name(images: str) -> str:
    """The most usual name of the labels of images with this name, such as ``y_train`` for ``x_train``.

    Raises:
        FormatError: if the images have no usual name.
    """
    spelling = _spelling(images)
    return spelling.form.format(LABELS[spelling.place])


def labels_for(images: str, names: Iterable[str]) -> str | None:
    """The name of the labels that usually go with images of this name; None if there are none."""
    spelling = _found(images)
    return None if spelling is None else spelling.labels(_spelled(names))


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


def _missing(held: Mapping[str, str], split: Split) -> str:
    if split == "test" or splits_of(held):
        return f"no {split} split: no array x_{split}, {split}_images or the like"
    return f"no array of images: {_EXPECTED} expected"

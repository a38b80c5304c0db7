"""The classes of a converted file: the source's own, declared ones, or those published for its data set."""

from __future__ import annotations

import torch
from torch import Tensor

from dsetpack.convert._labels import Meant, label_source, some_classes
from dsetpack.convert._published import known_classes
from dsetpack.convert.base import Found, Given
from dsetpack.files.classes import are_numbers, few, places
from dsetpack.files.labels import absent
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice
from dsetpack.formats.words import plural

MOST_CLASSES = 1 << 16
"""A larger number of classes must be declared; it is not guessed from the largest class number in a file."""


def in_classes(meant: Meant, found: Found, given: Given) -> tuple[Tensor, tuple[str, ...]]:
    """The labels as the numbers of the pack's classes, and the names of these classes.

    Names are declared, the source's own, published with the ``dataset``, or numbers if none are known. An image keeps
    its own class: declared names in another order renumber the labels.

    Raises:
        FormatError: if there are fewer classes than the labels need, if soft labels have another number of columns, if
            declared classes do not fit the source's own, or if a class has no image and ``given.absent`` is false.
    """
    labels, own = meant.values, found.classes
    one_based = f"if 1 is the first class, say labels='{meant.file}one-based' (--labels {meant.file}one-based)"
    if isinstance(meant.classes, tuple):
        own, at = places(meant.classes, meant.classes if own is None else own)
        labels = _moved(labels, at, len(own))
    names = _numbered(labels, some_classes(found, given) if own is None else own, one_based)
    if own is not None:
        names, at = _placed(own, isinstance(meant.classes, tuple), given)
        labels = _moved(labels, at, len(names))
    if not given.absent and not meant.card.centred:
        _check_present(labels, names, one_based)
    return labels, names


def _numbered(labels: Tensor, classes: tuple[str, ...] | int | None, one_based: str) -> tuple[str, ...]:
    """The names of the classes that labels index: known, or their numbers.

    Raises:
        FormatError: if they are fewer than the labels need, or too many to be guessed.
    """
    columns = labels.shape[1] if labels.ndim == 2 else None
    least = columns or int(labels.max()) + 1
    if classes is None and least > MOST_CLASSES:
        raise FormatError(
            f"class number {least - 1:,}; is the file damaged? If it really has that many classes, pass classes="
        )
    names = classes if isinstance(classes, tuple) else tuple(map(str, range(least if classes is None else classes)))
    if columns and columns != len(names):
        raise FormatError(
            f"{plural(columns, 'label column')} for {plural(len(names), 'class')}; say how many with classes="
        )
    if least > len(names):
        from_one = int(labels.min()) == 1 and least == len(names) + 1
        remedy = f"class numbers start at 0; {one_based}" if from_one else "say how many with classes="
        raise FormatError(f"labels up to {least - 1} for {plural(len(names), 'class')}; {remedy}")
    return names


def _placed(own: tuple[str, ...], by_name: bool, given: Given) -> tuple[tuple[str, ...], list[int]]:
    """The names of all classes, and the place among them of each of the source's own."""
    first = int(by_name and label_source(given.labels)[1] == "one-based")
    same = own, list(range(len(own)))
    usual = known_classes(given.dataset)
    if first and (not are_numbers(own) or (given.classes or usual) is None):
        raise FormatError(f"the source names its classes ({few(own)}); leave out labels='one-based', or pass classes=")
    if given.classes is not None:
        return places(own, given.classes, first)
    if usual is None:
        return same
    count = usual if isinstance(usual, int) else len(usual)
    numbers = are_numbers(own) and all(first <= int(name) < first + count for name in own)
    if numbers or (isinstance(usual, tuple) and set(own) <= set(usual)):
        return places(own, usual, first)
    if len(own) > count or (len(own) < count and not given.absent):
        raise FormatError(
            f"the source has {plural(len(own), 'class')} ({few(own)}), and {given.dataset} has {count}; pass "
            "absent=True (--absent) if some have no images, or classes= for others"
        )
    if isinstance(usual, tuple):
        notice(f"the source's own class names ({few(own)}) are kept; those of {given.dataset} are {few(usual)}")
    return same


def _moved(labels: Tensor, places: list[int], classes: int) -> Tensor:
    """Labels whose class ``n`` becomes ``places[n]`` of so many classes.

    Raises:
        FormatError: if soft labels would need columns that they do not have.
    """
    at = torch.tensor(places)
    if labels.ndim == 1:
        return at[labels]
    if len(at) != classes:
        raise FormatError(
            f"{plural(len(at), 'label column')} for {plural(classes, 'class')}; one column per class expected"
        )
    return labels[:, at.argsort()]


def _check_present(labels: Tensor, names: tuple[str, ...], one_based: str) -> None:
    missing = absent(labels.numpy(), len(names))
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        first = f"; {one_based}" if missing == [0] and labels.ndim == 1 else ""
        raise FormatError(
            f"no image of class {missing[0]} ({names[missing[0]]!r}){others}; pass absent=True (--absent) if this is "
            f"meant{first}"
        )

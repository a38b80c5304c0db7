"""Labels in the forms that people have: class numbers, names, one-hot rows, soft labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsetpack.files.classes import in_order
from dsetpack.formats.errors import FormatError

FORMS = "class numbers [N], class names [N], one-hot integers [N, classes] or soft floats [N, classes] expected"


class LabelArray(NamedTuple):
    """What an array of labels says.

    Attributes:
        values: hard int64 [N] or soft float32 [N, classes].
        classes: the class names that ``values`` index, if the labels are names; the number of columns, if they have
            columns; otherwise None.
    """

    values: NDArray[Any]
    classes: tuple[str, ...] | int | None


def read_labels(labels: NDArray[Any], eps: float | None = None) -> LabelArray:
    """Read labels of any form. Class numbers may be floats, and one column instead of a row; names are put in order.

    Args:
        labels: an array of numbers or text.
        eps: the machine epsilon of the type that the labels had, if it was not that of the array.

    Raises:
        FormatError: if labels are of no known form, not whole or negative class numbers, or rows without a single 1.
    """
    y = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    kind, rows, table = y.dtype.kind, y.ndim == 1, y.ndim == 2 and y.shape[1] > 1
    if rows and kind in "biuf":
        return LabelArray(_numbers(y, eps), None)
    if rows and (kind in "UT" or (kind == "O" and all(isinstance(name, str) for name in y))):
        return _named(y)
    if table and kind in "biu":
        return LabelArray(_one_hot(y), y.shape[1])
    if table and kind == "f":
        return LabelArray(y.astype(np.float32, order="C"), y.shape[1])
    hint = "; convert them with .astype(np.float32)" if kind == "V" else ""
    raise FormatError(f"labels are {labels.dtype} {list(labels.shape)}; {FORMS}{hint}")


def absent(labels: NDArray[Any], classes: int) -> list[int]:
    """The classes without images: no hard label, or no soft label above 0."""
    present = np.unique(labels) if labels.ndim == 1 else np.flatnonzero((labels > 0).any(0))
    found: list[int] = np.setdiff1d(np.arange(classes), present).tolist()
    return found


def count_classes(labels: NDArray[np.int64]) -> int:
    """The number of classes that class numbers use, which is at least one.

    Raises:
        FormatError: if they skip a number: a class without images, or a sign that they do not start at 0.
    """
    used = np.unique(labels)
    skipped = np.flatnonzero(used != np.arange(len(used)))
    if not len(skipped):
        return max(len(used), 1)
    other = ", or number them from 0: labels - 1" if used[0] == 1 else ""
    raise FormatError(
        f"{span(labels)} and none is {skipped[0]}; if that class has no images, declare the classes (classes=, or an "
        f"array 'classes' in an .npz){other}"
    )


def span(labels: NDArray[Any]) -> str:
    """The smallest and the largest class number, for a message."""
    return f"labels {labels.min()}..{labels.max()}"


def _numbers(y: NDArray[Any], eps: float | None) -> NDArray[np.int64]:
    """Class numbers as int64.

    Raises:
        FormatError: if one is negative or not whole, or larger than those that its type holds exactly.
    """
    if y.dtype.kind == "f":
        if bad := y[~(np.isfinite(y) & (np.trunc(y) == y))].tolist():
            raise FormatError(f"labels are {y.dtype} {list(y.shape)} with {bad[0]:g}, no class number; {FORMS}")
        exact = 2 / (eps or float(np.finfo(y.dtype).eps))
        if len(y) and np.abs(y).max() > exact:
            raise FormatError(
                f"class number {y.max():g} in a type that is exact up to {exact:g}; save them as integers"
            )
    if len(y) and y.min() < 0:
        raise FormatError(f"class number {y.min():g} found; 0 or more expected")
    return y.astype(np.int64)


def _named(y: NDArray[Any]) -> LabelArray:
    texts = list(map(str, y))
    names = tuple(in_order(set(texts)))
    place = {name: number for number, name in enumerate(names)}
    return LabelArray(np.array([place[text] for text in texts], np.int64), names)


def _one_hot(y: NDArray[Any]) -> NDArray[np.int64]:
    """The class of each one-hot row.

    Raises:
        FormatError: if a row is not one-hot.
    """
    wrong = (y.astype(bool) != y).any(1) | (y.astype(bool).sum(1) != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise FormatError(f"labels are {y.dtype} {list(y.shape)}, and row {row} is not one-hot; {FORMS}")
    return np.asarray(y.argmax(1), np.int64)

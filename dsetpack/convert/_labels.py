"""The labels of a converted file: those in it, or those that the user declares."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dsetpack.convert._files import load_torch, tensor_of
from dsetpack.convert._npz import as_tensor, load_npy
from dsetpack.convert._published import PUBLISHED, published
from dsetpack.convert.base import LABEL_RULES, Found, Given
from dsetpack.formats.card import Labels
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.words import plural
from dsetpack.pack.arrays import as_labels

TOLERANCE = 1e-3
"""How far the sum of a row of probabilities may be from 1, and a probability below 0."""

MOST_CLASSES = 1 << 16
"""A larger number of classes must be declared; it is not guessed from the largest class number in a file."""


def labels_of(found: Found, given: Given) -> tuple[Tensor, Labels]:
    """The labels, hard int64 [N] or soft float32 [N, classes], and their description for the card.

    Raises:
        FormatError: if labels are neither in the file nor declared, if their number does not fit, if they are not
            finite, or if the meaning of soft labels is not known.
    """
    rule = given.labels
    if rule is not None and rule not in LABEL_RULES:
        values, where = _from_file(Path(rule), given.limits)
        with at(where):
            return _described(values, None, found)
    ordered = rule == "order" or (rule is None and found.by_order)
    if found.labels is None:
        with at(found.where):
            if not ordered:
                raise FormatError(_no_labels(found))
            return _by_order(found, given), Labels()
    with at(found.labels_where):
        if ordered:
            raise FormatError("the source has labels; leave out labels='order'")
        return _described(found.labels, rule, found)


def _described(values: Tensor, rule: str | None, found: Found) -> tuple[Tensor, Labels]:
    labels = plain_labels(values, found)
    if labels.ndim == 2:
        return _soft(labels, rule, found)
    if rule is not None:
        raise FormatError(f"these are class numbers already; labels={rule!r} is for soft labels")
    return labels, Labels()


def class_names(found: Found, given: Given, labels: Tensor) -> tuple[str, ...]:
    """The class names: declared, from the file, published with the ``dataset``, or numbers if none are known.

    Raises:
        FormatError: if there are fewer classes than the labels need, if soft labels have another number of columns, or
            if there are too many classes to be guessed.
    """
    columns = labels.shape[1] if labels.ndim == 2 else None
    least = columns or int(labels.max()) + 1
    names = _known_classes(found, given)
    if names is None and least > MOST_CLASSES:
        raise FormatError(
            f"class number {least - 1:,}; is the file damaged? If it really has that many classes, pass classes="
        )
    if names is None:
        names = least
    count = names if isinstance(names, int) else len(names)
    if count < least or (columns and count != columns):
        what = plural(columns, "label column") if columns else f"labels up to {least - 1}"
        raise FormatError(f"{what} for {plural(count, 'class')}; say how many with classes=")
    return tuple(map(str, range(names))) if isinstance(names, int) else names


def _known_classes(found: Found, given: Given) -> tuple[str, ...] | int | None:
    """The names or number of classes: declared, from the file, or published with the data set."""
    if given.classes is not None:
        return given.classes
    if found.classes is not None:
        return found.classes
    return published(given.dataset).classes if given.dataset in PUBLISHED else None


def plain_labels(values: Tensor, found: Found) -> Tensor:
    """Convert labels to hard int64 [N] or soft float32 [N, classes], and check that there is one label per source.

    Raises:
        FormatError: if they do not fit, or if they are negative or not finite.
    """
    labels = as_labels(values)
    if len(labels) != (count := len(found.sources)):
        raise FormatError(
            f"{plural(len(labels), 'label')} for {plural(count, 'image')} of {found.where}; one each expected"
        )
    if labels.ndim == 1 and int(labels.min()) < 0:
        raise FormatError(f"class number {int(labels.min())} found; 0 or more expected")
    if labels.ndim == 2 and (bad := int((~labels.isfinite()).sum())):
        raise FormatError(f"NaN or infinity in {plural(bad, 'value')}; finite labels expected")
    return labels


def _from_file(path: Path, limits: Limits) -> tuple[Tensor, str]:
    """The labels in the file that the user names, and their place."""
    if path.suffix not in (".npy", ".pt", ".pth"):
        raise FormatError(f"labels {str(path)!r}: one of {', '.join(LABEL_RULES)} expected, or a .npy or .pt file")
    where = f"{path.name}: labels"
    held = load_npy(path, limits) if path.suffix == ".npy" else load_torch(path, limits)
    with at(where):
        return as_tensor(held) if path.suffix == ".npy" else tensor_of(held), where


def _no_labels(found: Found) -> str:
    hint = f" ({found.labels_hint})" if found.labels_hint else ""
    return (
        f"the source has no labels{hint}; pass labels='order' (--labels order, with --classes) if it holds equally "
        "many images of each class, class by class, or name a .npy or .pt file of labels"
    )


def _by_order(found: Found, given: Given) -> Tensor:
    """Labels class by class, with the same number of images each; the number of classes is not in the file."""
    known, count = _known_classes(found, given), len(found.sources)
    if known is None:
        raise FormatError(
            f"labels by order, {plural(count, 'image')} class by class, need the number of classes: pass classes= "
            "(--classes 10, or names, or --dataset)"
        )
    classes = known if isinstance(known, int) else len(known)
    if classes < 1 or count % classes:
        raise FormatError(f"{plural(count, 'image')} cannot be equally many of each of {plural(classes, 'class')}")
    return torch.arange(classes).repeat_interleave(count // classes)


def _soft(labels: Tensor, rule: str | None, found: Found) -> tuple[Tensor, Labels]:
    if rule == "hard":
        return labels.argmax(1), Labels()
    if rule == "softmax":
        return labels.softmax(1), Labels(kind="soft")
    if rule == "uncentred":
        return _uncentred(labels, found), Labels(kind="soft")
    sums = labels.sum(1)
    if found.centred or rule == "centred":
        return labels, Labels(kind="soft", centred=True)
    if float(labels.min()) >= -TOLERANCE and float((sums - 1).abs().max()) <= TOLERANCE:
        return labels, Labels(kind="soft")
    raise FormatError(
        f"soft labels from {labels.min():.4g} to {labels.max():.4g} whose first row sums to {sums[0]:.4g} are no "
        "probabilities; say what they are: labels='softmax' for logits, 'centred' for regression targets, or 'hard' to "
        "keep the largest alone"
    )


def _uncentred(labels: Tensor, found: Found) -> Tensor:
    """Undo the centring (one-hot - 1 / classes) · scale, so that rows sum to about 1.

    FRePo starts with scale = 1 / √(classes / 10), RFAD with 1. The results of learned labels may be negative or above
    1.
    """
    if found.target_scale is None:
        raise FormatError("'uncentred' undoes the centring of FRePo and RFAD; this layout has no such rule")
    return labels / found.target_scale + 1 / labels.shape[1]

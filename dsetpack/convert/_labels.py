"""The labels of a converted file: those in it, or those that the user declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.convert._files import load_torch, numpy_labels, torch_labels
from dsetpack.convert._published import DIGITS, known_classes
from dsetpack.convert.base import LABEL_RULES, Found, Given
from dsetpack.files.arrays import load_npy
from dsetpack.formats.by_name import spelled
from dsetpack.formats.card import Labels
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.words import plural
from dsetpack.pack.arrays import label_array

TOLERANCE = 1e-3
"""How far the sum of a row of probabilities may be from 1, and a probability below 0; more in narrow types."""


class Meant(NamedTuple):
    """Labels whose meaning is known.

    Attributes:
        values: hard int64 [N] or soft float32 [N, classes].
        card: their description for the card.
        classes: the names that hard labels index, if the labels were names; the number of columns, if they had columns.
        where: the file and the field that they come from, for messages.
        file: what stands before a rule for them, for messages: ``FILE:``, or nothing.
    """

    values: Tensor
    card: Labels
    classes: tuple[str, ...] | int | None
    where: str
    file: str = ""


def labels_of(found: Found, given: Given) -> Meant:
    """The labels in the file, or those that the user declares.

    Raises:
        FormatError: if labels are neither in the file nor declared, if their number does not fit, if they are not
            finite, or if the meaning of soft labels is not known.
    """
    file, rule = label_source(given.labels)
    if rule == "one-based" and (given.classes or known_classes(given.dataset)) == DIGITS:
        raise FormatError(
            "labels='one-based' would make the digit 1 class 0; if 10 stands for the digit 0, save labels % 10 instead"
        )
    if file is not None:
        held, where = _from_file(file, given.limits)
        with at(where):
            return Meant(*_described(held, rule, found, f"{file.name}:"), where, f"{file.name}:")
    ordered = rule == "order" or (rule is None and found.by_order)
    if found.labels is None:
        with at(found.where):
            if not ordered:
                raise FormatError(_no_labels(found))
            return Meant(_by_order(found, given), Labels(), None, found.labels_where)
    with at(found.labels_where):
        if ordered:
            raise FormatError("the source has labels; leave out labels='order'")
        return Meant(*_described(found.labels, rule, found), found.labels_where)


def label_source(text: str | None) -> tuple[Path | None, str | None]:
    """The file of labels and the rule that ``labels=`` names: ``FILE``, ``RULE`` or ``FILE:RULE``."""
    if text is None:
        return None, None
    file, colon, last = text.rpartition(":")
    if (rule := spelled(LABEL_RULES, last)) and (file or not colon):
        return Path(file) if file else None, rule
    return Path(text), None


def _described(
    held: Tensor | NDArray[Any], rule: str | None, found: Found, file: str = ""
) -> tuple[Tensor, Labels, tuple[str, ...] | int | None]:
    """The values of labels by their rule, what the card says of them, and their own classes."""
    labels, classes = plain_labels(held, found)
    if labels.ndim == 2:
        tolerance = max(TOLERANCE, 2 * _eps(held))
        return *_soft(labels, rule, found, tolerance, file), classes
    if rule == "one-based" and classes is None:
        if int(labels.min()) < 1:
            raise FormatError("class number 0 found; leave out labels='one-based'")
        labels = labels - 1
    elif rule is not None and rule != "one-based":
        raise FormatError(f"these are class numbers already; labels={rule!r} is for soft labels")
    return labels, Labels(), classes


def plain_labels(held: Tensor | NDArray[Any], found: Found) -> tuple[Tensor, tuple[str, ...] | int | None]:
    """Read labels of any form, hard int64 [N] or soft float32 [N, classes], and what they say about their classes.

    Raises:
        FormatError: if they are of no known form, if there is not one per source, or if they are not finite.
    """
    values, classes = label_array(held)
    labels = torch.from_numpy(values)
    if len(labels) != (count := len(found.sources)):
        raise FormatError(
            f"{plural(len(labels), 'label')} for {plural(count, 'image')} of {found.where}; one each expected"
        )
    if labels.ndim == 2 and (bad := int((~labels.isfinite()).sum())):
        raise FormatError(f"NaN or infinity in {plural(bad, 'value')}; finite labels expected")
    return labels, classes


def _eps(held: Tensor | NDArray[Any]) -> float:
    """The machine epsilon of a floating type."""
    return float(torch.finfo(held.dtype).eps if isinstance(held, Tensor) else np.finfo(held.dtype).eps)


def _from_file(path: Path, limits: Limits) -> tuple[Tensor | NDArray[Any], str]:
    """The labels in the file that the user names, and their place."""
    if path.suffix not in (".npy", ".pt", ".pth"):
        raise FormatError(f"labels {str(path)!r}: one of {', '.join(LABEL_RULES)} expected, or a .npy or .pt file")
    where = f"{path.name}: labels"
    held = load_npy(path, limits) if path.suffix == ".npy" else load_torch(path, limits)
    with at(where):
        return (numpy_labels if path.suffix == ".npy" else torch_labels)(held), where


def _no_labels(found: Found) -> str:
    hint = f" ({found.labels_hint})" if found.labels_hint else ""
    return (
        f"the source has no labels{hint}; pass labels='order' (--labels order, with --classes) if it holds equally "
        "many images of each class, class by class, or name a .npy or .pt file of labels"
    )


def some_classes(found: Found, given: Given) -> tuple[str, ...] | int | None:
    """The names or number of the classes that labels index: the source's own, declared, or published ones."""
    known = (found.classes, given.classes, known_classes(given.dataset))
    return next((classes for classes in known if classes is not None), None)


def _by_order(found: Found, given: Given) -> Tensor:
    """Labels class by class, with the same number of images each; the number of classes is not in the file."""
    known, count = some_classes(found, given), len(found.sources)
    if known is None:
        raise FormatError(
            f"labels by order, {plural(count, 'image')} class by class, need the number of classes: pass classes= "
            "(--classes 10, or names, or --dataset)"
        )
    classes = known if isinstance(known, int) else len(known)
    if classes < 1 or count % classes:
        raise FormatError(f"{plural(count, 'image')} cannot be equally many of each of {plural(classes, 'class')}")
    return torch.arange(classes).repeat_interleave(count // classes)


def _soft(labels: Tensor, rule: str | None, found: Found, tolerance: float, file: str) -> tuple[Tensor, Labels]:
    if rule == "hard":
        return labels.argmax(1), Labels()
    if rule == "one-based":
        raise FormatError("these are soft labels; labels='one-based' is for class numbers")
    if rule == "softmax":
        return labels.softmax(1), Labels(kind="soft")
    if rule == "uncentred":
        return _uncentred(labels, found), Labels(kind="soft")
    if rule in ("probabilities", "renormalised"):
        return _probabilities(labels, rule, tolerance), Labels(kind="soft")
    sums = labels.sum(1)
    if found.centred or rule == "centred":
        return labels, Labels(kind="soft", centred=True)
    if float(labels.min()) >= -TOLERANCE and float((sums - 1).abs().max()) <= tolerance:
        return labels, Labels(kind="soft")
    row = int((sums - 1).abs().argmax())
    raise FormatError(
        f"soft labels from {labels.min():.4g} to {labels.max():.4g} whose row {row} sums to {sums[row]:.4g} are no "
        f"probabilities; say what they are: labels='{file}softmax' for logits, '{file}centred' for regression "
        f"targets, '{file}probabilities' to keep them, '{file}renormalised' to divide each row by its sum, or "
        f"'{file}hard' to keep the largest alone"
    )


def _probabilities(labels: Tensor, rule: str, tolerance: float) -> Tensor:
    """Probabilities as they are, or each row divided by its sum.

    Raises:
        FormatError: if a value is no probability, or if a row to be divided sums to 0.
    """
    low, high = (float(value) for value in labels.aminmax())
    if low < -TOLERANCE or (rule == "probabilities" and high > 1 + tolerance):
        raise FormatError(f"labels from {low:.4g} to {high:.4g} are no probabilities; labels='softmax' is for logits")
    if rule == "probabilities":
        return labels
    sums = labels.double().sum(1, keepdim=True)
    if not bool((sums > 0).all()):
        raise FormatError(f"row {int(sums.argmin())} sums to {float(sums.min()):.4g}; a sum above 0 expected")
    return (labels / sums).float()


def _uncentred(labels: Tensor, found: Found) -> Tensor:
    """Undo the centring (one-hot - 1 / classes) · scale, so that rows sum to about 1.

    FRePo starts with scale = 1 / √(classes / 10), RFAD with 1. The results of learned labels may be negative or above
    1.
    """
    if found.target_scale is None:
        raise FormatError("'uncentred' undoes the centring of FRePo and RFAD; this layout has no such rule")
    return labels / found.target_scale + 1 / labels.shape[1]

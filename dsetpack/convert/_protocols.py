"""How the releases train on their sets (taken from their code), as far as a card can say it.

What a card cannot say is left out: HaBa's release standardises each batch by its own mean and deviation; FRePo's and
IDC's augmentations differ from DSA in details. ``docs/convert.md`` lists these differences.
"""

from __future__ import annotations

from typing import Any, Literal

from dsetpack.convert.base import Protocol
from dsetpack.formats.card import Augmentation, Recipe

Op = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]
_OPS: tuple[Op, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
_DIGITS = ("mnist", "svhn")
"""Data whose classes change when mirrored: the releases leave ``flip`` out."""


def protocol(method: str, *, images: int, dataset: str | None = None) -> Protocol:
    """A release's own evaluation.

    Args:
        method: ``dc``, ``dsa``, ``dm``, ``mtt``, ``haba``, ``idc`` or ``frepo``.
        images: the number of images in the set; the length and batch size of FRePo's training depend on it.
        dataset: the real data; digits are not mirrored.
    """
    if method == "idc":
        return Protocol(_recipe(batch_size=64, milestones=(2 / 3, 5 / 6), gamma=0.2, cutmix=0.5), _idc(dataset))
    if method == "frepo":
        return Protocol(_frepo(images), _dsa(dataset, brightness=0.5, cutout=0.25, scale=1.25))
    if method == "dc":
        return Protocol(_recipe(epochs=300))
    learned = method in ("mtt", "haba")
    return Protocol(_recipe(), _dsa(dataset, align_corners=learned), learned)


def _recipe(**changes: Any) -> Recipe:
    """The common recipe of DSA, DM and MTT: SGD for 1000 epochs, with a tenth of the rate from the middle on."""
    return Recipe(**{"epochs": 1000, "milestones": (0.5,), "gamma": 0.1, **changes})


def _frepo(images: int) -> Recipe:
    steps = ((10, 1000), (100, 2000), (200, 20_000), (500, 5000), (1000, 10_000))
    return Recipe(
        optimizer="adam",
        lr=3e-4,
        weight_decay=0.0,
        steps=next((length for most, length in steps if images <= most), 40_000),
        warmup=500,
        final=0.01,
        batch_size=min(images, 500),
        loss="mse",
        arch="frepo3-nonorm",
    )


def _dsa(dataset: str | None, **changes: Any) -> Augmentation:
    return Augmentation(ops=_mirrored(_OPS, dataset), **changes)


def _idc(dataset: str | None) -> Augmentation:
    return Augmentation(ops=_mirrored(("color", "crop", "flip"), dataset), mode="all")


def _mirrored(ops: tuple[Op, ...], dataset: str | None) -> tuple[Op, ...]:
    return tuple(op for op in ops if op != "flip") if dataset in _DIGITS else ops

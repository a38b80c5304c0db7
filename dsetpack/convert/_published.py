"""Published statistics of data sets: the rounded numbers with which the releases normalise."""

from __future__ import annotations

from dataclasses import dataclass

from dsetpack.formats.by_name import spelled
from dsetpack.formats.errors import FormatError

DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """The statistics in the releases for a data set: means and deviations of raw pixels in [0, 1], one per channel.

    Attributes:
        classes: the class names, or their number if only the data's files have the names.
        mean, std: the values with which DC, DSA, DM and MTT normalise. CIFAR-10's deviations are not those of its
            pixels, which are 0.2470, 0.2435 and 0.2616; but the released sets were learned with them.
        frepo: the mean and std with which FRePo standardises before it whitens; None if FRePo has no values.
    """

    classes: tuple[str, ...] | int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frepo: tuple[tuple[float, ...], tuple[float, ...]] | None = None


_GREY = {"mnist": ((0.1307,), (0.3081,)), "fashion-mnist": ((0.2861,), (0.3530,))}
_CIFAR100 = (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)
_TABLE = {
    "mnist": Published(DIGITS, *_GREY["mnist"], _GREY["mnist"]),
    "fashion-mnist": Published(_FASHION, *_GREY["fashion-mnist"], _GREY["fashion-mnist"]),
    "svhn": Published(DIGITS, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": Published(
        _CIFAR10,
        (0.4914, 0.4822, 0.4465),
        (0.2023, 0.1994, 0.2010),
        ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ),
    "cifar100": Published(100, *_CIFAR100, _CIFAR100),
    "tiny-imagenet": Published(
        200, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), ((0.4759, 0.4481, 0.3926), (0.2763, 0.2687, 0.2813))
    ),
}
PUBLISHED = tuple(sorted(_TABLE))
"""The data sets with published statistics."""


def published(dataset: str) -> Published:
    """The published statistics of a data set.

    Raises:
        FormatError: if there are none for this name.
    """
    if (name := spelled(_TABLE, dataset)) is None:
        raise FormatError(f"no published statistics of {dataset!r}; they exist for {', '.join(PUBLISHED)}")
    return _TABLE[name]


def known_classes(dataset: str | None) -> tuple[str, ...] | int | None:
    """The published class names of a data set, or their number; None if they are not known here."""
    name = spelled(_TABLE, dataset)
    return None if name is None else _TABLE[name].classes

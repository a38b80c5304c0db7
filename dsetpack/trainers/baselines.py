"""The baseline that a pack has to beat: random real images in as many bytes, trained on for as many steps."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Space
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import accuracies
from dsetpack.trainers.progress import meter
from dsetpack.trainers.seeds import derive

RATES = (0.3, 1.0, 3.0)
"""The factors on the recipe's learning rate that a baseline may choose from."""


@dataclass(frozen=True)
class Baseline:
    """The measurement of random real images.

    Attributes:
        per_class: the number of images per class.
        bytes: the size of a file with the images (uint8 + zstd), as a mean over subsets.
        accuracy, std: mean and standard deviation over subsets, at the best learning rate.
        lr: the best learning rate.
        subsets: the number of random subsets.
    """

    per_class: int
    bytes: int
    accuracy: float
    std: float | None
    lr: float
    subsets: int


def random_pack(data: ImageData, per_class: int, seed: int, space: Space | None = None) -> Pack:
    """Make a pack of kind ``images`` of random real images; without ``space`` they are raw, stored as 8-bit pixels."""
    chosen = data.take(data.draw(per_class, derive(seed, "random images")))
    images = chosen.images if space is None else space.apply(chosen.raw())
    return Pack.from_arrays(
        images, chosen.labels, classes=data.classes, space=space, axes="NCHW", title="random real images"
    )


def stored_bytes(data: ImageData, per_class: int, seed: int = 0) -> int:
    """The size of a file with ``per_class`` random real images of each class, in bytes."""
    return len(random_pack(data.to("cpu"), per_class, seed).to_bytes())


def images_within(data: ImageData, size: int, seed: int = 0) -> int:
    """How many random real images of each class fit into a file of ``size`` bytes; at least 1, even if it is larger."""
    most = int(torch.bincount(data.labels, minlength=len(data.classes)).min())
    low, high = 1, 1
    while high < most and stored_bytes(data, high, seed) <= size:
        low, high = high, min(2 * high, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if stored_bytes(data, middle, seed) <= size else (low, middle - 1)
    return low


def measure_random(
    data: ImageData,
    test: ImageData,
    per_class: int,
    *,
    recipe: Recipe,
    augmentation: Augmentation | None,
    space: Space,
    subsets: int = 3,
    rates: Sequence[float] = RATES,
    seed: int = 0,
    device: torch.device | str = "cpu",
    show: bool | None = None,
) -> Baseline:
    """Train on several random subsets at several learning rates; the best rate on the test images counts.

    That choice favours the baseline: a pack is measured at one learning rate.

    Args:
        data, test: real images; networks train on the first and are tested on the second.
        per_class: images per class in a subset.
        recipe: the recipe, whose learning rate is multiplied by each of ``rates``. Give its length in ``steps``, so
            that small sets train for as long.
        augmentation: the pack's augmentation.
        space: the pack's pixel space.
        subsets: the number of subsets; each trains one network for each rate.
        rates: the factors on the learning rate.
        seed: the seed of subsets and networks.
        device: where to train.
        show: whether to show progress; None: only on a terminal.
    """
    packs = [random_pack(data, per_class, derive(seed, n), space) for n in range(subsets)]
    sizes = [stored_bytes(data, per_class, derive(seed, n)) for n in range(subsets)]
    found: dict[float, list[float]] = {}
    with meter(f"{per_class} real per class", len(rates) * subsets, show) as work:
        for rate in rates:
            changed = recipe.model_copy(update={"lr": recipe.lr * rate})
            found[changed.lr] = []
            for n, pack in enumerate(packs):
                found[changed.lr] += accuracies(
                    pack,
                    test,
                    seeds=[derive(seed, n)],
                    recipe=changed,
                    augmentation=augmentation,
                    device=device,
                )
                work.update(work.done + 1, f"accuracy {max(map(statistics.fmean, found.values())):.2%}")
    best = max(found, key=lambda lr: statistics.fmean(found[lr]))
    return Baseline(
        per_class=per_class,
        bytes=round(statistics.fmean(sizes)),
        accuracy=statistics.fmean(found[best]),
        std=statistics.stdev(found[best]) if subsets > 1 else None,
        lr=best,
        subsets=subsets,
    )

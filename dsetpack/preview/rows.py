"""The rows of a preview: the images of one class, or those that the decoders make of one source."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.pack.part import Part


def hard(labels: Tensor) -> NDArray[np.int64]:
    """The class of each label, int64 [N]: itself, or the largest entry of a soft label."""
    numbers: NDArray[np.int64] = (labels if labels.ndim == 1 else labels.argmax(1)).cpu().numpy()
    return numbers


def plain(part: Part) -> bool:
    """Whether there is nothing to see but one image per source, so that a row is a class."""
    return part.kind in ("images", "generator") and part.slots == 1


def by_class(labels: NDArray[np.int64], each: int | None = None) -> list[NDArray[np.int64]]:
    """The sources of every class that has any, in order of class; of each at most the first ``each``."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    return [ids[:each] for ids in np.split(order, starts[1:])]


def spread(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Choose at most ``count`` sources to show: evenly over the classes, in order of class."""
    order = np.argsort(labels, kind="stable")
    rank = np.empty_like(order)  # the position of a source inside its class
    rank[order] = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    chosen = np.lexsort((labels, rank))[:count]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of an image, shrunk to the area of a square of this side; it is at most four times as long."""
    scale = min(1.0, side / math.sqrt(width * height), 4 * side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))

"""Augmentation written from section 4.2 of the specification alone augments as the runtime does."""

import math

import numpy as np
import pytest
import torch

from dsetpack.formats.card import Augmentation
from dsetpack.training import augment


class Draws:
    """Replaces an augmentation's random numbers by fixed shares of the way from the lowest to the highest."""

    def __init__(self, *shares):
        self.shares = iter(shares)

    def uniform(self, low, high):
        return torch.tensor([low + next(self.shares) * (high - low)], dtype=torch.float64)

    def integer(self, low, high):
        return torch.tensor([min(high, low + int(next(self.shares) * (high + 1 - low)))])


def drawn(share, low, high):
    """An integer as ``Draws`` draws it."""
    return min(high, low + int(share * (high + 1 - low)))


def section_4_2(image, op, align, first, second):
    """``crop``, ``cutout``, ``scale`` or ``rotate`` of an image [C, H, W], as the text says, with the defaults."""
    sides, result = image.shape[1:], image.copy()
    rounded = lambda share, side: math.floor(share * side + 0.5)  # noqa: E731
    if op == "cutout":
        spans = []
        for share, side in zip((first, second), sides, strict=True):
            s = rounded(0.5, side)
            start = drawn(share, 0, side - s % 2) - s // 2
            spans.append([i for i in range(start, start + s) if 0 <= i < side])
        result[:, *np.ix_(*spans)] = 0
        return result
    for i, j in np.ndindex(*sides):
        if op == "crop":
            at = [
                k + drawn(share, -rounded(0.125, side), rounded(0.125, side))
                for k, share, side in zip((i, j), (first, second), sides, strict=True)
            ]
        else:
            v, u = (2 * k / (n - 1) - 1 if align else (2 * k + 1) / n - 1 for k, n in zip((i, j), sides, strict=True))
            if op == "scale":
                low, high = 1 / 1.2, 1.2
                u, v = ((low + share * (high - low)) * x for x, share in ((u, first), (v, second)))
            else:
                t = math.radians(-15 + first * 30)
                u, v = math.cos(t) * u - math.sin(t) * v, math.sin(t) * u + math.cos(t) * v
            at = [(x + 1) / 2 * (n - 1) if align else ((x + 1) * n - 1) / 2 for x, n in zip((v, u), sides, strict=True)]
        result[:, i, j] = sum(
            image[:, row, column] * max(0, 1 - abs(at[0] - row)) * max(0, 1 - abs(at[1] - column))
            for row, column in np.ndindex(*sides)
        )
    return result


@pytest.mark.parametrize("op", ["crop", "cutout", "scale", "rotate"])
@pytest.mark.parametrize("align", [False, True])
def test_the_specification_suffices_to_augment(op, align):
    image = np.random.default_rng(0).standard_normal((2, 12, 9))
    spec = Augmentation(ops=(op,), align_corners=align)
    for shares in ((0.0, 0.999), (0.3, 0.1), (0.9, 0.6), (0.999, 0.0)):
        found = augment._OPS[op](torch.from_numpy(image)[None], spec, Draws(*shares))[0].numpy()
        np.testing.assert_allclose(found, section_4_2(image, op, align, *shares), atol=1e-12)

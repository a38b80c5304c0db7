"""CutMix (Yun et al., ICCV 2019, arXiv 1905.04899): a rectangle of each image comes from another image of its batch.

With M the mask of the pixels that an image keeps, ``M x_a + (1 - M) x_b`` has the label ``λ y_a + (1 - λ) y_b``
(equation 1). λ is uniform in [0, 1]; the rectangle's sides are the image's times sqrt(1 - λ), and its centre is uniform
(equation 2). Where the paper leaves details open, this follows the released code, as IDC does: one rectangle serves a
batch, whole and half sides are rounded down, what lies outside the image is cut off, and λ is then the share of pixels
that are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Mix:
    """How one batch is mixed.

    Attributes:
        partner: int64 [B]: the image that each image's rectangle comes from.
        rows, columns: the rectangle.
        kept: λ, the share of pixels outside the rectangle.
    """

    partner: Tensor
    rows: slice
    columns: slice
    kept: float

    def images(self, x: Tensor) -> Tensor:
        """Mix images [B, C, H, W]; ``x`` stays as it is."""
        mixed = x.clone()
        mixed[:, :, self.rows, self.columns] = x[self.partner, :, self.rows, self.columns]
        return mixed

    def labels(self, y: Tensor, classes: int) -> Tensor:
        """Mix hard labels [B] or soft labels [B, classes] into float [B, classes]."""
        y = y if y.is_floating_point() else F.one_hot(y, classes).float()
        return self.kept * y + (1 - self.kept) * y[self.partner]


def draw_mix(probability: float, x: Tensor, generator: torch.Generator) -> Mix | None:
    """Draw the mix of a batch ``x`` [B, C, H, W], or None to leave it unmixed. Probability 0 draws no number.

    Args:
        probability: how likely the batch is mixed.
        x: the batch.
        generator: the generator of all draws, on the CPU.
    """
    if not probability or torch.rand((), generator=generator, dtype=torch.float32).item() >= probability:
        return None
    height, width = x.shape[2:]
    share = torch.rand((), generator=generator, dtype=torch.float64).item()
    row, column = (int(torch.randint(side, (), generator=generator)) for side in (height, width))
    rows, columns = (interval(side, share, at) for side, at in ((height, row), (width, column)))
    cut = (rows.stop - rows.start) * (columns.stop - columns.start)
    partner = torch.randperm(len(x), generator=generator).to(x.device)
    return Mix(partner, rows, columns, 1 - cut / (height * width))


def interval(side: int, share: float, centre: int) -> slice:
    """The pixels of a side that the rectangle covers if it should leave a ``share`` of the image."""
    half = int(side * math.sqrt(1 - share)) // 2
    return slice(max(centre - half, 0), min(centre + half, side))

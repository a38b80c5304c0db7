"""Convolutions of a bank of decoders: their weights, stacked, and a convolution that is fast for few channels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsetpack.decoders.base import prefers_loops

VECTOR = 16  # floats in the vector registers that the CPU's convolutions compute output channels in
LONGEST = 8  # rows of a strip


class ConvBank(nn.Module):
    """One convolution layer of every decoder: ``weight`` [D, ...] and ``bias`` [D, out], or [1, ...] where shared.

    The start is PyTorch's own for ``Conv2d`` and ``ConvTranspose2d``: uniform within 1 / sqrt(fan-in), the fan-in being
    the product of all weight dimensions but the (first) output one.
    """

    def __init__(self, weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(math.prod(weight[2:]))
        self.weight = nn.Parameter(torch.empty(weight).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(bias).uniform_(-bound, bound))

    def at(self, number: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of one decoder."""
        number = number if len(self.weight) > 1 else 0
        return self.weight[number], self.bias[number]


def conv_banks(shapes: Mapping[str, tuple[int, ...]], name: str) -> nn.ModuleList:
    """The layers ``name.0``, ``name.1``, ... that the shapes list."""
    count = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in shapes)
    return nn.ModuleList(ConvBank(shapes[f"{name}.{i}.weight"], shapes[f"{name}.{i}.bias"]) for i in range(count))


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
    """``torch.nn.functional.conv2d``, up to 1.5 times faster on a CPU where output channels are few (twice, backward).

    A CPU computes output channels in vectors of 16 and leaves most of a vector idle for 3 of them. So several rows of
    the output become channels: one kernel, tall enough for a strip of rows, whose shifted copies make its rows.
    """
    rows = _strip(x, weight, padding) if stride == groups == 1 and prefers_loops(x) else 1
    if rows == 1:
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)
    out, _, height, _ = weight.shape
    tall = height + rows - 1
    # Windows over the padded kernel hold it at offsets rows-1 ... 0: flipped, row i of the strip sees it at offset i.
    copies = F.pad(weight, (0, 0, rows - 1, rows - 1)).unfold(2, tall, 1).flip(2).permute(0, 2, 1, 4, 3)
    strips = F.conv2d(x, copies.flatten(0, 1), bias[:, None].expand(out, rows).reshape(-1), (rows, 1), padding)
    return torch.unflatten(strips, 1, (out, rows)).transpose(2, 3).flatten(2, 3)


def _strip(x: Tensor, weight: Tensor, padding: int) -> int:
    """How many rows of the output to compute together: as many as fill a vector and divide the height."""
    height = x.shape[2] + 2 * padding - weight.shape[2] + 1
    return next((r for r in range(min(LONGEST, VECTOR // len(weight)), 1, -1) if height % r == 0), 1)


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor, *, groups: int = 1) -> Tensor:
    """``torch.nn.functional.conv_transpose2d`` of stride 1 without padding, as the convolution that it is.

    PyTorch's own is some seven times slower on a CPU for 3 channels. ``weight`` [in, out / groups, k, k].
    """
    flipped = torch.unflatten(weight, 0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    return conv2d(x, flipped, bias, padding=weight.shape[-1] - 1, groups=groups)

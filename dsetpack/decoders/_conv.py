"""Convolutions of a bank of decoders: their stacked weights, and ways to run them fast if there are few channels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VECTOR = 16  # floats in a vector register, in which a CPU computes output channels
LONGEST = 8  # most rows of a strip

Layers = list[tuple[Tensor, Tensor]]


class ConvBank(nn.Module):
    """One convolution layer of every decoder: ``weight`` [D, ...] and ``bias`` [D, out], or [1, ...] if shared.

    They start as in PyTorch's ``Conv2d`` and ``ConvTranspose2d``: uniform within 1 / sqrt(fan-in), where the fan-in is
    the product of the weight's dimensions after the first two.
    """

    def __init__(self, weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(math.prod(weight[2:]))
        self.weight = nn.Parameter(torch.empty(weight).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(bias).uniform_(-bound, bound))


class ConvBanks(nn.ModuleList):
    """The layers ``name.0``, ``name.1``, ... of a bank, in the order they run."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
        count = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in shapes)
        super().__init__(ConvBank(shapes[f"{name}.{i}.weight"], shapes[f"{name}.{i}.bias"]) for i in range(count))

    def tensors(self) -> Layers:
        """Weight and bias of every layer."""
        return [(bank.weight, bank.bias) for bank in self if isinstance(bank, ConvBank)]


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int, groups: int = 1) -> Tensor:
    """Convolve with stride 1; a weight from ``strips`` gives the same result as the one it was made from."""
    _, _, tall, wide = weight.shape
    rows = tall - wide + 1
    y = F.conv2d(x, weight, bias, (rows, 1), padding, groups=groups)
    return y if rows == 1 else torch.unflatten(y, 1, (len(weight) // rows, rows)).transpose(2, 3).flatten(2, 3)


def strips(weight: Tensor, bias: Tensor, height: int) -> tuple[Tensor, Tensor]:
    """Bring square kernels [D, out, in, k, k] and biases [D, out] into a form that a CPU runs faster if out is small.

    It is 1.5 times faster. A CPU computes output channels in vectors of 16, and 3 channels leave most of a vector idle.
    So ``rows`` rows of an output of this height become channels: a kernel tall enough for a strip of rows, once for
    each of its rows.

    Returns:
        Weight [D, out·rows, in, k+rows-1, k] and bias [D, out·rows] for ``conv2d``; as given if no strip fits.
    """
    out, kernel = weight.shape[1], weight.shape[-1]
    rows = next((r for r in range(min(LONGEST, VECTOR // out), 1, -1) if height % r == 0), 1)
    if rows == 1:
        return weight, bias
    # Windows over the padded kernel hold it at offsets rows-1 ... 0: flipped, row i of the strip sees it at offset i.
    windows = F.pad(weight, (0, 0, rows - 1, rows - 1)).unfold(3, kernel + rows - 1, 1).flip(3)
    return windows.permute(0, 1, 3, 2, 5, 4).flatten(1, 2).contiguous(), bias.repeat_interleave(rows, 1)


def as_convolution(weight: Tensor) -> Tensor:
    """Turn weights [D, in, out, k, k] of transposed convolutions into weights [D, out, in, k, k] of convolutions.

    This is for stride 1: no padding there is padding k - 1 here. PyTorch's transposed convolution is about seven times
    slower on a CPU.
    """
    return weight.transpose(1, 2).flip(3, 4)

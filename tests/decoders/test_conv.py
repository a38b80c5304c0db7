"""Convolutions of banks: the fast forms give the same as torch's layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dsetpack.decoders._conv import ConvBank, ConvBanks, as_convolution, conv2d, strips
from tests.support.decoder_cases import close

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("out", "height"), [(1, 8), (3, 8), (3, 9), (3, 7), (20, 8)])
def test_strips_give_the_same_convolution(out: int, height: int, padding: int) -> None:
    weight, bias = torch.rand(1, out, 2, 3, 3) - 0.5, torch.rand(1, out)
    x = torch.rand(2, 2, height + 2 - 2 * padding, 6)
    tall, wide = strips(weight, bias, height)
    close(conv2d(x, tall[0], wide[0], padding=padding), F.conv2d(x, weight[0], bias[0], padding=padding))
    assert (tall is weight) == ((height == 7 and out == 3) or out == 20)


def test_a_transposed_convolution_of_stride_1_is_a_convolution() -> None:
    weight, x = torch.rand(1, 4, 3, 3, 3) - 0.5, torch.rand(2, 4, 5, 6)
    close(F.conv2d(x, as_convolution(weight)[0], padding=2), F.conv_transpose2d(x, weight[0]))


def test_layers_start_as_torchs_do_and_are_kept_in_order() -> None:
    torch.manual_seed(0)
    bank, layer = ConvBank((50, 8, 4, 3, 3), (50, 8)), nn.Conv2d(4, 8, 3)
    assert bank.weight.abs().max().item() == pytest.approx(layer.weight.abs().max().item(), rel=0.05)
    assert bank.bias.abs().max() <= (4 * 9) ** -0.5
    shapes = {
        f"l.{i}.{part}": (1, i + 1, 1, 3, 3)[: 5 if part == "weight" else 2]
        for i in range(12)
        for part in ("weight", "bias")
    }
    banks = ConvBanks(shapes, "l")
    assert [weight.shape[1] for weight, _ in banks.tensors()] == list(range(1, 13))
    assert len(ConvBanks(shapes, "m")) == 0

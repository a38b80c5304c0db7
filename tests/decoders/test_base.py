"""What every decoder checks before it decodes."""

from __future__ import annotations

import pytest
import torch

from dsetpack.decoders import Decoder, decoder
from dsetpack.formats.errors import DsetpackError, FormatError

pytestmark = pytest.mark.usefixtures("one_thread")


MNIST = (1, 28, 28)


@pytest.fixture(scope="module")
def bank() -> Decoder:
    return decoder("haba", {"decoders": 3}, MNIST, 10)


def test_numbers_out_of_range_are_refused(bank: Decoder) -> None:
    sources = torch.rand(2, *MNIST)
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(FormatError, match=f"decoder numbers from {min(bad)} to {max(bad)}, expected 0 to 2"):
            bank(sources, torch.tensor(bad))
    with pytest.raises(FormatError, match="source numbers from 0 to 2, expected 0 to 1"):
        bank(sources, torch.tensor([0, 1]), torch.tensor([0, 2]))


def test_arguments_that_do_not_fit_are_refused(bank: Decoder) -> None:
    sources, index = torch.rand(2, *MNIST), torch.tensor([0, 1])
    with pytest.raises(FormatError, match=r"int32 of shape \[2\], expected int64 of shape \[2\]"):
        bank(sources, index.int())
    with pytest.raises(FormatError, match=r"int64 of shape \[3\], expected int64 of shape \[2\]"):
        bank(sources, torch.tensor([0, 1, 2]))
    with pytest.raises(FormatError, match=r"float32 of shape \[2, 3, 28, 28\], expected floats of shape \[B, 1, 28"):
        bank(sources.expand(-1, 3, -1, -1), index)
    with pytest.raises(FormatError, match="sources are uint8"):
        bank.product(sources.to(torch.uint8))
    with pytest.raises(DsetpackError, match="HabaDecoder: this kind stores its sources, it draws no noise"):
        bank.condition(torch.rand(2, 100), index)

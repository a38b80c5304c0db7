"""``upsample``: patches of a source, numbered row by row and enlarged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dsetpack.decoders import decoder
from tests.support.decoder_cases import close

pytestmark = pytest.mark.usefixtures("one_thread")


def test_patches_are_numbered_row_by_row() -> None:
    bank = decoder("upsample", {"factor": 2}, (1, 8, 8), 10)
    source = torch.arange(4.0).view(1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    every = bank.product(source)
    assert every.shape == (1, 4, 1, 8, 8)
    for number in range(4):
        close(every[0, number], torch.full((1, 8, 8), float(number)))


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_patch_is_enlarged_as_torch_does(align_corners: bool) -> None:
    bank = decoder("upsample", {"factor": 3, "align_corners": align_corners}, (2, 9, 12), 10)
    source = torch.rand(1, 2, 9, 12)
    expected = F.interpolate(source[..., 3:6, 8:12], size=(9, 12), mode="bilinear", align_corners=align_corners)
    close(bank(source, torch.tensor([5])), expected)


def test_a_source_that_the_factor_does_not_divide_is_padded_with_a_half() -> None:
    bank = decoder("upsample", {"factor": 2, "align_corners": True}, (1, 5, 5), 10)
    last = bank(torch.zeros(1, 1, 5, 5), torch.tensor([3]))[0, 0]
    assert last[0, 0] == 0  # the corner inside the source
    assert last[-1, -1] == 0.5
    assert bank(torch.zeros(1, 1, 5, 5), torch.tensor([0])).abs().max() == 0


def test_nothing_is_learned() -> None:
    assert not decoder("upsample", {"factor": 2}, (1, 8, 8), 10).state_dict()

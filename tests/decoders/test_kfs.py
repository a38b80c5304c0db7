"""``kfs``: the paper's parameter counts, and codes as blocks of pixels."""

from __future__ import annotations

import pytest
import torch

from dsetpack.decoders import decoder
from tests.support.decoder_cases import CIFAR, close, parameters, randomized

pytestmark = pytest.mark.usefixtures("one_thread")


def test_kfs_parameters_are_the_papers() -> None:
    assert parameters("kfs", decoders=1, channels=(12, 9, 6)) == 738
    assert parameters("kfs", decoders=8, channels=(12, 9, 6)) == 5904
    assert parameters("kfs", decoders=1, channels=(12, 9, 6), kernel=4) == 738 + 3 * (441 - 9 + 222 - 6 + 75 - 3)


def test_a_code_pixel_makes_its_own_block_with_kernel_2() -> None:
    bank = randomized(decoder("kfs", {"decoders": 2, "channels": (5, 4, 3)}, CIFAR, 10))
    codes = torch.rand(2, *bank.source_shape)
    assert bank.source_shape == (5, 4, 4)
    codes[1] = codes[0]
    codes[1, :, 1, 2] += 1
    with torch.no_grad():
        one, other = bank(codes, torch.tensor([1, 1]))
    changed = (one != other).any(0)
    assert changed[8:16, 16:24].all()
    assert changed.sum() == 64


def test_an_image_of_another_size_is_the_centre_of_the_next_larger_one() -> None:
    small, large = (decoder("kfs", {"decoders": 1, "channels": (3, 2)}, (1, s, s), 10) for s in (13, 16))
    randomized(large)
    small.load_state_dict(large.state_dict())
    codes = torch.rand(2, *large.source_shape)
    with torch.no_grad():
        close(small.product(codes), large.product(codes)[..., 1:14, 1:14])


def test_images_are_raw() -> None:
    bank = randomized(decoder("kfs", {"decoders": 2, "channels": (3, 2), "kernel": 4}, (1, 8, 8), 10))
    with torch.no_grad():
        x = bank.product(100 * torch.randn(4, *bank.source_shape))
    assert bank.config.yields == "raw"
    assert 0 <= x.min() < x.max() <= 1

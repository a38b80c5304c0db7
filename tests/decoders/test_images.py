"""``images``: the sources are the images."""

from __future__ import annotations

import torch

from dsetpack.decoders import decoder

IMAGE = (3, 4, 5)


def test_the_images_are_the_sources_themselves() -> None:
    bank, x = decoder("images", {}, IMAGE, 10), torch.rand(4, *IMAGE)
    ids = torch.zeros(4, dtype=torch.int64)
    assert bank(x, ids).data_ptr() == x.data_ptr()  # not a copy
    assert torch.equal(bank(x, ids[:3], torch.tensor([3, 1, 3])), x[[3, 1, 3]])
    assert torch.equal(bank.product(x), x[:, None])


def test_there_is_nothing_to_learn_and_one_decoder() -> None:
    bank = decoder("images", {}, IMAGE, 10)
    assert not bank.state_dict()
    assert (bank.bank_size, bank.source_shape, bank.config.yields) == (1, IMAGE, "space")


def test_values_of_any_range_and_their_gradients_pass() -> None:
    bank, x = decoder("images", {}, IMAGE, 10), torch.full((2, *IMAGE), -7.0, requires_grad=True)
    bank(x, torch.zeros(3, dtype=torch.int64), torch.tensor([1, 1, 0])).sum().backward()
    assert x.grad is not None
    assert x.grad.mean(dim=(1, 2, 3)).tolist() == [1, 2]

"""Decoding: each pair by its decoder, differentiable, materialized."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Card, FormatError, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.card import NormalizedSpace
from dsetpack.formats.kinds import kind_config
from dsetpack.spaces import Normalized, Raw
from tests.support.small_packs import CLASSES, KINDS, make_pack, reopened


@pytest.mark.parametrize("kind", KINDS)
def test_decode_is_the_decoder_applied_to_each_pair(kind):
    pack = make_pack(kind)
    part = pack.parts[0]
    numbers = [5, 0, len(pack) - 1, 5]
    x, y = pack.decode(numbers)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    for row, number in enumerate(numbers):
        source, slot = divmod(number, part.slots)
        alone = part.decoder(part.sources[source : source + 1], torch.tensor([slot]))
        torch.testing.assert_close(x[row : row + 1], alone, rtol=1e-5, atol=1e-6)
        assert y[row] == part.labels[source] == pack.labels[number]


def test_pairs_may_be_list_array_or_tensor():
    pack = make_pack()
    expected = pack.decode([3, 1])[0]
    for numbers in (np.array([3, 1]), torch.tensor([3, 1]), (3, 1)):
        assert torch.equal(pack.decode(numbers)[0], expected)
    for wrong in ([len(pack)], [-1], [[1, 2]]):
        with pytest.raises(IndexError):
            pack.decode(wrong)
    assert pack.decode([])[0].shape == (0, 1, 16, 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, torch.uint8, torch.int16])
def test_pair_numbers_are_no_mask_however_narrow(dtype):
    images = torch.rand(4, 1, 4, 4)
    pack = Pack.from_arrays(images, [0, 1, 0, 1]).materialize()
    numbers = np.array([1, 1, 0], dtype) if isinstance(dtype, type) else torch.tensor([1, 1, 0], dtype=dtype)
    assert torch.equal(pack.decode(numbers)[0], images[[1, 1, 0]])


def test_decode_is_differentiable_in_sources_and_bank():
    pack = reopened(make_pack())
    part = pack.parts[0]
    assert not pack.decode([0, 1])[0].requires_grad
    part.sources.requires_grad_()
    part.decoder.requires_grad_()
    pack.decode([0, 1])[0].sum().backward()
    assert part.sources.grad[0].abs().sum() > 0
    assert part.sources.grad[1:].abs().sum() == 0
    assert all(p.grad is not None for p in part.decoder.parameters())


def test_space_is_applied_to_decoders_with_a_fixed_range_only():
    space = Normalized(NormalizedSpace(mean=(0.5,), std=(0.25,)))
    raw, normal = make_pack("kfs"), make_pack("kfs", space=space.model)
    torch.testing.assert_close(normal.decode([1])[0], (raw.decode([1])[0] - 0.5) / 0.25)
    torch.testing.assert_close(
        make_pack("images", space=space.model).decode([1])[0], make_pack("images").decode([1])[0]
    )
    assert isinstance(reopened(normal).space, Normalized)
    assert isinstance(raw.space, Raw)


def test_materialize_gives_the_same_images_without_decoding(monkeypatch):
    pack = make_pack()
    kept = reopened(pack).materialize()
    assert kept.table == pack.table
    monkeypatch.setattr(Part, "decode", None)  # any use would fail
    x, y = kept.decode([7, 3])
    monkeypatch.undo()
    torch.testing.assert_close(x, pack.decode([7, 3])[0])
    assert torch.equal(y, pack.decode([7, 3])[1])
    assert kept.to_bytes() == pack.to_bytes()


def generator_pack(**card):
    config = kind_config("generator")(width=8)
    card = Card(title="g", classes=CLASSES, shape=(1, 28, 28), **card)
    labels = torch.arange(3).repeat_interleave(card.per_class or 1)
    return Pack(card, [Part("generator", config, decoder("generator", config, card.shape, 3).eval(), None, labels)])


def test_generator_has_the_length_it_is_asked_for_and_fresh_noise_each_epoch():
    data = generator_pack(per_class=2).to_bytes()
    pack = dsetpack.open(data)
    assert len(pack) == 6
    assert pack.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(dsetpack.open(data, per_class=5)) == 15
    x = pack.decode([4, 1], seed=3, epoch=1)[0]
    assert torch.equal(x, pack.decode([4, 1], seed=3, epoch=1)[0])
    torch.testing.assert_close(x[1:], pack.decode([1], seed=3, epoch=1)[0], rtol=1e-5, atol=1e-5)  # rounding of batches
    assert not torch.equal(x, pack.decode([4, 1], seed=3, epoch=2)[0])
    assert not torch.equal(x, pack.decode([4, 1], seed=4, epoch=1)[0])
    with pytest.raises(FormatError, match="per_class"):
        dsetpack.open(generator_pack().to_bytes())

"""Packs in a whitened space."""

from __future__ import annotations

import pytest
import torch

import dsetpack
from dsetpack import DsetpackError, FormatError, Pack
from dsetpack.formats import encode
from dsetpack.pack.stored import to_file
from dsetpack.spaces import Raw, Zca
from tests.support.small_packs import reopened


def whitened(storage):
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    space = Zca.fit(images, storage=storage)
    return Pack.from_arrays(space.apply(images[:6]), [0, 1] * 3, space=space), images


def test_a_space_to_be_refit_is_given_to_the_pack():
    pack, images = whitened("refit")
    opened = reopened(pack)
    with pytest.raises(DsetpackError, match=r"pack\.with_space\(Zca\.refit\(pack\.card\.space, x\)\)"):
        opened.space.apply(images)
    refit = opened.with_space(Zca.refit(opened.card.space, images))
    torch.testing.assert_close(refit.space.invert(refit.decode(range(6))[0]), images[:6], atol=1e-4, rtol=0)
    assert refit.digest == opened.digest is not None
    assert refit.to_bytes() == pack.to_bytes()
    embedded = refit.with_space(refit.space.stored("embed"))
    assert torch.equal(reopened(embedded).space.apply(images), pack.space.apply(images))
    assert embedded.digest is None
    for other in (Raw(), Zca.fit(images.flip(0))):
        with pytest.raises(FormatError, match="not in the space"):
            opened.with_space(other)


@pytest.mark.parametrize("names", [("sources", "labels"), ("labels", "space.mean"), ("space.matrix", "space.mean")])
def test_another_writers_names_of_the_whitening_are_not_ours(names):
    pack, images = whitened("embed")
    card, entries, tensors = to_file(pack.card, pack.parts, pack.space)
    space = dict(zip(names, (tensors.pop("space.mean"), tensors.pop("space.matrix")), strict=True))
    roles = {"sources": "a", "labels": "b"}
    tensors = {roles[role]: tensors[role] for role in roles} | space
    card = card.replace(space=card.space.model_copy(update={"mean": names[0], "matrix": names[1]}))
    theirs = dsetpack.open(encode(card, [entries[0].model_copy(update={"tensors": roles})], tensors))
    again = reopened(theirs)
    assert torch.equal(again.space.apply(images), pack.space.apply(images))
    assert torch.equal(again.decode(range(6))[0], pack.decode(range(6))[0])

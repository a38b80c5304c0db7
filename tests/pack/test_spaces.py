"""Packs in a whitened space."""

from __future__ import annotations

import pytest
import torch

from dsetpack import DsetpackError, FormatError
from dsetpack.spaces import Raw, Zca
from tests.support.small_packs import reopened
from tests.support.space_cases import whitened


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

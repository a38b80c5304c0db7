"""``Raw``: pixels as they are."""

from __future__ import annotations

import pytest
import torch

from dsetpack.formats.card import RawSpace
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Raw, space_from_card
from tests.support.space_cases import pictures


def test_raw():
    x = pictures(3)
    space = space_from_card(RawSpace())
    assert isinstance(space, Raw)
    assert torch.equal(space.apply(x), x)
    assert torch.equal(space.to("cpu").invert(x), x)
    with pytest.raises(FormatError, match="divide uint8"):
        space.apply(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))

"""``Normalized``: fit, both directions, and the card's model."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from dsetpack.formats.card import NormalizedSpace
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, space_from_card
from tests.support.space_cases import pictures


def test_normalized():
    x = pictures()
    space = Normalized.fit(x)
    a = x.numpy().astype(np.float64)
    assert space.model.mean == pytest.approx([a[:, c].mean() for c in range(3)], rel=1e-12)
    assert space.model.std == pytest.approx([np.sqrt(((a[:, c] - a[:, c].mean()) ** 2).mean()) for c in range(3)])
    y = space.apply(x)
    expected = np.stack([(a[:, c] - space.model.mean[c]) / space.model.std[c] for c in range(3)], 1)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(space.invert(y), x)
    again = space_from_card(NormalizedSpace(mean=space.model.mean, std=space.model.std)).to("cpu")
    assert torch.equal(again.apply(x), y)
    assert pickle.loads(pickle.dumps(space)).model == space.model
    with pytest.raises(FormatError, match="1 channel; the space has 3"):
        space.apply(x[:, :1])
    with pytest.raises(FormatError, match="channel 0"):
        Normalized.fit(torch.full((3, 1, 2, 2), 0.7))

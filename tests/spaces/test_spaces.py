"""Spaces and cards: raw and normalized pixels, what spaces say of themselves, models that contradict themselves."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dsetpack.formats.card import Card, NormalizedSpace, RawSpace, ZcaSpace
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw, Zca, space_from_card
from tests.support.space_cases import DIGEST, pictures


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
    with pytest.raises(FormatError, match="1 channels; the space has 3"):
        space.apply(x[:, :1])
    with pytest.raises(FormatError, match="channel 0"):
        Normalized.fit(torch.full((3, 1, 2, 2), 0.7))


def test_spaces_say_what_they_are():
    x = pictures()
    assert repr(Raw()) == "Raw()"
    assert repr(Normalized(NormalizedSpace(mean=(0.28604, 0.5), std=(0.35302, 1)))) == (
        "Normalized(mean=[0.286, 0.5], std=[0.353, 1])"
    )
    zca = Zca.fit(x, storage="refit")
    assert repr(zca) == "Zca(kornia, epsilon 0.1, 60 values)"
    assert repr(space_from_card(zca.model)) == "Zca(kornia, epsilon 0.1, to be refit)"
    for space in (Raw(), Normalized.fit(x), zca):
        with pytest.raises(FormatError, match="a torch tensor is expected"):
            space.apply(x.numpy())


def test_raw():
    x = pictures(3)
    space = space_from_card(RawSpace())
    assert isinstance(space, Raw)
    assert torch.equal(space.apply(x), x)
    assert torch.equal(space.to("cpu").invert(x), x)
    with pytest.raises(FormatError, match="divide uint8"):
        space.apply(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


def test_cards_keep_their_space():
    """``kind`` survives a dump without defaults: without it no reader could tell the spaces apart."""
    x = pictures()
    for space in (Raw(), Normalized.fit(x), Zca.fit(x, "frepo"), Zca.fit(x, storage="refit")):
        card = Card(title="t", classes=("a",), shape=(3, 4, 5), space=space.model)
        assert Card.model_validate_json(card.model_dump_json(exclude_defaults=True), strict=True) == card


@pytest.mark.parametrize(
    "change",
    [
        {"storage": "refit"},
        {"storage": "refit", "mean": None, "matrix": None, "spectrum": ()},
        {"storage": "refit", "matrix": None},
        {"mean": None},
        {"spectrum": (1.0, 2.0)},
        {"variant": "frepo"},
        {"variant": "frepo", "channel_mean": (0.0,), "channel_std": (1.0, 1.0)},
        {"channel_std": (1.0,)},
        {"epsilon": 0.0},
    ],
)
def test_models_that_contradict_themselves(change):
    good = {"variant": "kornia", "epsilon": 0.1, "fitted_on": DIGEST, "storage": "embed", "mean": "m", "matrix": "x"}
    good["spectrum"] = (2.0, 1.0)
    ZcaSpace(**good)
    with pytest.raises(ValidationError):
        ZcaSpace(**{**good, **change})
    with pytest.raises(ValidationError):
        NormalizedSpace(mean=(0.0, 0.0), std=(1.0,))

"""Spaces and cards: raw and normalized pixels, what spaces say of themselves, models that contradict themselves."""

from __future__ import annotations

import pytest

from dsetpack.formats.card import Card, NormalizedSpace
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw, Zca, space_from_card
from tests.support.space_cases import pictures


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


def test_cards_keep_their_space():
    """``kind`` survives a dump without defaults; otherwise no reader could tell the spaces apart."""
    x = pictures()
    for space in (Raw(), Normalized.fit(x), Zca.fit(x, "frepo"), Zca.fit(x, storage="refit")):
        card = Card(title="t", classes=("a",), shape=(3, 4, 5), space=space.model)
        assert Card.model_validate_json(card.model_dump_json(exclude_defaults=True), strict=True) == card

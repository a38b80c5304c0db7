"""A pack's contents against its card."""

from __future__ import annotations

import pytest

from dsetpack import Card, FormatError, Pack
from dsetpack.formats.card import NormalizedSpace
from dsetpack.spaces import Normalized
from tests.support.small_packs import CLASSES, make_part


def test_card_and_contents_agree():
    part = make_part("images")
    card = Card(title="t", classes=CLASSES, shape=(1, 16, 16))
    normalized = Normalized(NormalizedSpace(mean=(0.5,), std=(0.25,)))
    with pytest.raises(FormatError, match=r"another than Normalized\(mean=\[0\.5\], std=\[0\.25\]\)"):
        Pack(card, [part], normalized)
    with pytest.raises(FormatError, match="expected a dsetpack"):
        Pack(card, [part], "normalized")
    for changes, message in (
        ({"space": normalized.model}, "another than Raw"),
        ({"classes": (*CLASSES, "d")}, r"its decoders make images \[1, 16, 16\] of 3 classes; .* of 4 classes"),
        ({"shape": (1, 32, 32)}, "sources of shape"),
        ({"licence": "MIT"}, "card: licence"),
        ({"title": 5}, "card: title"),
    ):
        with pytest.raises(FormatError, match=message):
            Pack(card, [part]).replace_card(**changes)
    other = make_part("kfs", bank=make_part("kfs", image=(1, 15, 15)).decoder)
    with pytest.raises(FormatError, match=r"its decoders make images \[1, 15, 15\]"):
        Pack(card, [other])

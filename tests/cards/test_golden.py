"""Golden cards: writing them again gives the same text."""

from __future__ import annotations

import pytest

from tests.support.make_cards import FOLDER, PACKS, rendered


@pytest.mark.parametrize("name", PACKS)
def test_golden(name):
    for file, content in rendered(name).items():
        assert content == (FOLDER / file).read_text(encoding="utf-8"), f"{file}: see tests/support/make_cards.py"

"""A card's texts are changed, and nothing else is; every description of a pack shows them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from dsetpack import cards
from dsetpack.cards.edit import FIELDS, address, described, told
from dsetpack.formats import FormatError
from dsetpack.formats.card import Card, Provenance
from dsetpack.preview.card import card_list
from tests.support.card_cases import KFS, front_matter, with_card

TEXTS = {
    "title": "Ten coats",
    "description": "First.\n\nSecond.",
    "license": "CC-BY-4.0",
    "author": "Ada L.",
    "url": "https://example.org/coats",
    "method": "dsa",
}


@pytest.fixture
def card() -> Card:
    return cards.facts(KFS).card.replace(extra={"kept": 1})


def test_every_text_is_changed_and_the_rest_stays(card):
    changed = described(card, **TEXTS)
    assert told(changed) == TEXTS
    assert (changed.credit, changed.extra) == ("Ada L.", {"kept": 1, "url": TEXTS["url"]})
    rest = {"title", "description", "license", "credit", "extra", "provenance"}
    assert changed.model_dump(exclude=rest) == card.model_dump(exclude=rest)
    assert changed.provenance == card.provenance.model_copy(update={"method": "dsa"})
    assert described(card) == card


@pytest.mark.parametrize("field", FIELDS)
def test_one_text_at_a_time_and_an_empty_one_removes_it(card, field):
    full = described(card, **TEXTS)
    other = "https://example.org/other" if field == "url" else "other"
    assert told(described(full, **{field: other})) == TEXTS | {field: other}
    if field == "title":
        with pytest.raises(FormatError, match="cannot be removed"):
            described(full, title=" ")
    else:
        assert told(described(full, **{field: ""})) == TEXTS | {field: None}


@pytest.mark.parametrize("url", ["example.org", "javascript:alert(1)", "file:///etc/passwd", "https://", "http://a b"])
def test_an_address_is_an_address(card, url):
    with pytest.raises(FormatError, match="https:// or http:// expected"):
        described(card, url=url)
    assert address(card.replace(extra={"url": url})) is None
    assert address(card.replace(extra={"url": [1]})) is None


def test_every_description_shows_the_texts():
    found = with_card(**dict(described(cards.facts(KFS).card, **TEXTS)))
    markdown, croissant, page = cards.markdown(found), cards.croissant(found), card_list(found)
    front = front_matter(markdown)
    assert (front["pretty_name"], front["license"]) == ("Ten coats", "cc-by-4.0")
    for text in ("# Ten coats", "First.\n\nSecond.", "CC-BY-4.0", "Ada L.", "https://example.org/coats", "dsa"):
        assert text in markdown
    assert (croissant["name"], croissant["creator"]["name"]) == ("Ten coats", "Ada L.")
    assert croissant["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert croissant["url"] == "https://example.org/coats"
    assert "sameAs" not in croissant
    published = cards.croissant(found, url="https://hub/x")
    assert (published["url"], published["sameAs"]) == ("https://hub/x", "https://example.org/coats")
    if mlcroissant := _library():
        assert not mlcroissant.Dataset(jsonld=published).metadata.ctx.issues.errors
    assert cards.croissant(with_card(provenance=Provenance()))["url"] == "./"
    for text in ("CC-BY-4.0", "Ada L.", "https://example.org/coats", "dsa"):
        assert text in page


def _library() -> Any:
    try:
        return importlib.import_module("mlcroissant")
    except ImportError:
        return None

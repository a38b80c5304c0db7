"""Licences as the Hub spells them."""

from __future__ import annotations

from dsetpack import cards
from dsetpack.cards.licenses import SPDX, hub_license, license_url
from tests.support.card_cases import LICENSES, front_matter, with_card


def test_licenses():
    assert set(SPDX) <= LICENSES
    assert hub_license("MIT") == "mit"
    assert hub_license("CC-BY-SA-4.0") == "cc-by-sa-4.0"
    assert hub_license("ODbL-1.0") == "odbl"
    assert hub_license("GPL-3.0-or-later") == hub_license("gpl-3.0-only") == "gpl-3.0"
    assert hub_license("our own") == "other"
    assert hub_license(None) == hub_license("  ") == "unknown"
    assert license_url("mit") == "https://spdx.org/licenses/MIT.html"
    assert license_url("GPL-3.0-or-later") == "https://spdx.org/licenses/GPL-3.0-or-later.html"
    assert license_url("https://example.org/terms") == "https://example.org/terms"
    assert license_url(None) == "unknown"
    front = front_matter(cards.markdown(with_card(license="Our: own #1")))
    assert (front["license"], front["license_name"]) == ("other", "Our: own #1")

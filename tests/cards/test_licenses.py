"""Licences as the Hub spells them."""

from __future__ import annotations

import pytest

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
    assert "license_link" not in front
    assert (front["license"], front["license_name"]) == ("other", "Our: own #1")


@pytest.mark.parametrize(
    ("text", "hub"),
    [
        ("The MIT License", "mit"),
        ("mit licence", "mit"),
        ("Apache 2.0", "apache-2.0"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("CC0", "cc0-1.0"),
        ("CC0 1.0 Public Domain Dedication", "cc0-1.0"),
        ("GPLv3", "gpl-3.0"),
        ("BSD 3-Clause License", "bsd-3-clause"),
        ("https://creativecommons.org/licenses/by-nc/4.0/deed.en", "cc-by-nc-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0"),
        ("https://opensource.org/licenses/MIT", "mit"),
        ("https://spdx.org/licenses/ODbL-1.0.html", "odbl"),
        ("http://www.apache.org/licenses/LICENSE-2.0.txt", "apache-2.0"),
        ("Apache", "other"),
        ("BSD", "other"),
        ("CC BY", "other"),
        ("license", "other"),
        ("MIT-0", "other"),
        ("https://example.org/licenses/MIT", "other"),
    ],
)
def test_a_licence_is_known_as_people_write_it(text, hub):
    assert hub_license(text) == hub


def test_a_licence_that_is_an_address_is_a_link():
    front = front_matter(cards.markdown(with_card(license="https://example.org/terms")))
    assert (front["license"], front["license_link"]) == ("other", "https://example.org/terms")

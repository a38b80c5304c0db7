"""Licences by their identifiers on the Hub and in SPDX's list."""

from __future__ import annotations

import re

SPDX = {
    "afl-3.0": "AFL-3.0",
    "agpl-3.0": "AGPL-3.0-only",
    "apache-2.0": "Apache-2.0",
    "artistic-2.0": "Artistic-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-3-clause-clear": "BSD-3-Clause-Clear",
    "bsl-1.0": "BSL-1.0",
    "c-uda": "C-UDA-1.0",
    "cc-by-2.0": "CC-BY-2.0",
    "cc-by-2.5": "CC-BY-2.5",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-2.0": "CC-BY-NC-2.0",
    "cc-by-nc-3.0": "CC-BY-NC-3.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-nd-3.0": "CC-BY-NC-ND-3.0",
    "cc-by-nc-nd-4.0": "CC-BY-NC-ND-4.0",
    "cc-by-nc-sa-2.0": "CC-BY-NC-SA-2.0",
    "cc-by-nc-sa-3.0": "CC-BY-NC-SA-3.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-nd-4.0": "CC-BY-ND-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "cdla-permissive-1.0": "CDLA-Permissive-1.0",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "cdla-sharing-1.0": "CDLA-Sharing-1.0",
    "ecl-2.0": "ECL-2.0",
    "epl-1.0": "EPL-1.0",
    "epl-2.0": "EPL-2.0",
    "etalab-2.0": "etalab-2.0",
    "eupl-1.1": "EUPL-1.1",
    "eupl-1.2": "EUPL-1.2",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "isc": "ISC",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "ms-pl": "MS-PL",
    "ncsa": "NCSA",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "ofl-1.1": "OFL-1.1",
    "osl-3.0": "OSL-3.0",
    "pddl": "PDDL-1.0",
    "postgresql": "PostgreSQL",
    "unlicense": "Unlicense",
    "wtfpl": "WTFPL",
    "zlib": "Zlib",
}
"""The SPDX identifier of every licence in the Hub's list that is a single text in SPDX's list."""

_BY_SPDX = {spdx.lower(): hub for hub, spdx in SPDX.items()}
_FILLERS = re.compile(r"\b(the|licen[cs]e|version|public-domain-dedication)\b")
_PAGES = {
    r"https?://(www\.)?creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)(/.*)?": r"cc-\2-\3",
    r"https?://(www\.)?creativecommons\.org/publicdomain/zero/1\.0(/.*)?": "cc0-1.0",
    r"https?://(www\.)?(spdx|opensource)\.org/licenses?/([^/]+?)(\.html|/)?": r"\3",
    r"https?://(www\.)?apache\.org/licenses/license-2\.0(\.txt|\.html)?": "apache-2.0",
}
"""Pages of licences that name them in their addresses."""
_SPELLED = {
    "apache2": "apache-2.0",
    "cc0": "cc0-1.0",
    "gplv2": "gpl-2.0",
    "gplv3": "gpl-3.0",
    "agplv3": "agpl-3.0",
    "lgplv3": "lgpl-3.0",
    "gnu-gplv3": "gpl-3.0",
    "gnu-gpl-3.0": "gpl-3.0",
    "expat": "mit",
}
"""Names that mean one licence only; ``Apache``, ``BSD`` and ``CC BY`` alone may be several."""


def hub_license(text: str | None) -> str:
    """The Hub's identifier of a card's licence: ``other`` if the Hub does not list it, ``unknown`` if it is missing."""
    key = _key(text)
    return "unknown" if not key else _known(key) or "other"


def license_url(text: str | None) -> str:
    """The page of a licence in SPDX's list, or the text as it stands (an address or a name), or ``unknown``."""
    key = _key(text)
    if (hub := _known(key)) is None:
        return str(text).strip() if key else "unknown"
    spdx = SPDX[hub].replace("-only", "-or-later") if key.endswith("-or-later") else SPDX[hub]
    return f"https://spdx.org/licenses/{spdx}.html"


def _key(text: str | None) -> str:
    """A licence's name or address as an identifier in lower case: ``The MIT License`` is ``mit``."""
    key = re.sub(r"[\s_]+", "-", (text or "").strip().lower())
    for page, named in _PAGES.items():
        if found := re.fullmatch(page, key):
            return found.expand(named)
    if "://" in key:
        return key
    plain = re.sub(r"[\s,()-]+", "-", _FILLERS.sub("", key)).strip("-")
    plain = re.sub(r"-v?(\d)$", r"-\1.0", re.sub(r"-v(\d)", r"-\1", plain))
    return _SPELLED.get(plain, plain) or key


def _known(key: str) -> str | None:
    """The Hub's identifier if it knows the licence; it is the same with and without later versions."""
    if key in SPDX:
        return key
    return _BY_SPDX.get(re.sub(r"-or-later$", "-only", key))

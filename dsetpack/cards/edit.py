"""What a card tells people, and may be changed at any time: no stored number depends on it."""

from __future__ import annotations

import re
from typing import Any

from dsetpack.formats.card import Card
from dsetpack.formats.errors import FormatError

FIELDS = ("title", "description", "license", "author", "url", "method")
"""The arguments of ``described``, in the order in which people ask for them."""
_ADDRESS = re.compile(r"https?://[^\s/]\S*")


def described(
    card: Card,
    *,
    title: str | None = None,
    description: str | None = None,
    license: str | None = None,  # noqa: A002 - the card's word
    author: str | None = None,
    url: str | None = None,
    method: str | None = None,
) -> Card:
    """A copy of a card that tells people something else. None leaves a text as it is; an empty one removes it.

    Args:
        card: the card; it stays as it is.
        title: the title, which is not removed.
        description: one or more paragraphs.
        license: the licence of the data: best an identifier of SPDX's list, such as ``MIT`` or ``CC-BY-4.0``.
        author: who made the set; it becomes ``credit``.
        url: where the set comes from, ``http://`` or ``https://``; it becomes ``extra["url"]``.
        method: the method that made the set, such as ``dsa``; it becomes ``provenance.method``.

    Raises:
        FormatError: if the title is empty, or if ``url`` is not an address.
    """
    if title is not None and not title.strip():
        raise FormatError("title: an empty text; a title cannot be removed, only replaced")
    if url and not is_address(url):
        raise FormatError(f"url: {url!r}: an address that starts with https:// or http:// expected")
    changes: dict[str, Any] = {
        key: text for key, text in (("title", title), ("description", description)) if text is not None
    }
    changes |= {key: text or None for key, text in (("license", license), ("credit", author)) if text is not None}
    if url is not None:
        rest = {key: value for key, value in card.extra.items() if key != "url"}
        changes["extra"] = {**rest, "url": url} if url else rest
    if method is not None:
        changes["provenance"] = {**card.provenance.model_dump(), "method": method or None}
    return card.replace(**changes)


def told(card: Card) -> dict[str, str | None]:
    """The texts that ``described`` changes, by its arguments; None for those that a card does not have."""
    texts = (card.title, card.description, card.license, card.credit, address(card), card.provenance.method)
    return {key: text or None for key, text in zip(FIELDS, texts, strict=True)}


def address(card: Card) -> str | None:
    """Where a set comes from, an ``http://`` or ``https://`` address: ``extra["url"]``, or None if that is not one."""
    found = card.extra.get("url")
    return found if isinstance(found, str) and is_address(found) else None


def is_address(text: str | None) -> bool:
    """Whether a text is an ``http://`` or ``https://`` address and nothing else."""
    return text is not None and _ADDRESS.fullmatch(text) is not None

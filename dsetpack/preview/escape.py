"""Text of a file inside HTML: shown as it is, whatever it says."""

from __future__ import annotations

import html
import re

LONGEST = 20_000
"""Characters of one field: a page is no place for megabytes."""


def text(value: object) -> str:
    """One line, escaped for content and for quoted attributes; control characters are spelled, endless text is cut."""
    words = str(value)
    short = words if len(words) <= LONGEST else f"{words[:LONGEST]}… ({len(words):,} characters)"
    return html.escape("".join(c if c.isprintable() else ascii(c)[1:-1] for c in short))


def paragraphs(value: str) -> str:
    """Text of several lines as paragraphs."""
    parts = [part for part in re.split(r"\n\s*\n", value[:LONGEST]) if part.strip()]
    return "".join(f"<p>{text(' '.join(part.split()))}</p>" for part in parts)

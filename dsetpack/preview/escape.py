"""Text from a file as HTML that shows the text as it is and cannot do anything else."""

from __future__ import annotations

import html
import re

LONGEST = 20_000
"""The largest number of characters of one field: a page should not hold megabytes of text."""


def text(value: object) -> str:
    """Escape one line for content and for quoted attributes; control characters are spelled out, long text is cut."""
    words = str(value)
    short = words if len(words) <= LONGEST else f"{words[:LONGEST]}… ({len(words):,} characters)"
    return html.escape("".join(c if c.isprintable() else ascii(c)[1:-1] for c in short))


def paragraphs(value: str) -> str:
    """Make paragraphs from text of several lines."""
    parts = [part for part in re.split(r"\n\s*\n", value[:LONGEST]) if part.strip()]
    return "".join(f"<p>{text(' '.join(part.split()))}</p>" for part in parts)

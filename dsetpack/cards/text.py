"""Make text that may come from a file safe inside Markdown and YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_MARKS = re.compile(r"([\\`*_\[\]<|~$&])")
_STARTS = re.compile(r"^([-+#>=]|\d+(?=[.)]))")
"""What makes a list, heading, quote or rule at the start of a line."""
_LONGEST = 20_000
"""The most characters of one field: a card is not a place for megabytes."""


def line(text: str) -> str:
    """One line of printable characters: others become escapes, line ends become spaces, and a very long text is cut."""
    short = " ".join(text.split())
    short = short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short)


def escape(text: str) -> str:
    """One line of Markdown that shows this text as it is: no markup, no HTML, no links, no table cells."""
    marked = _MARKS.sub(r"\\\1", line(text))
    return _STARTS.sub(lambda m: f"{m[1]}\\" if m[1].isdigit() else f"\\{m[1]}", marked)


def paragraphs(text: str) -> str:
    """Text with its paragraphs, each escaped."""
    return "\n\n".join(escape(part) for part in re.split(r"\n\s*\n", text) if part.strip())


def code(text: str, *, cell: bool = False) -> str:
    """A code span; with ``cell``, one that is safe in a table."""
    plain = line(text) or " "
    fence = "`" * (max((len(run) for run in re.findall(r"`+", plain)), default=0) + 1)
    space = " " if plain[0] == "`" or plain[-1] == "`" else ""
    shown = plain.replace("|", "\\|") if cell else plain
    return f"{fence}{space}{shown}{space}{fence}"


def yaml(text: str) -> str:
    """A double-quoted YAML scalar."""
    return json.dumps(line(text), ensure_ascii=False)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    """A table of cells that are Markdown already; columns in ``right`` are aligned to the right."""
    rule = ("---:" if n in right else "---" for n in range(len(head)))
    return [f"| {' | '.join(row)} |" for row in (head, tuple(rule), *rows)]

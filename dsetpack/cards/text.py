"""Text that a file may have written, safe inside Markdown and YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_MARKS = re.compile(r"([\\`*_\[\]<|~$&])")
_STARTS = re.compile(r"^([-+#>=]|\d+(?=[.)]))")
"""What makes a list, heading, quote or rule where a line begins with it."""
_LONGEST = 20_000
"""Characters of one field: a card is no place for megabytes."""


def line(text: str) -> str:
    """One line of printable characters: others as escapes, spaces for line ends, cut where it is endless."""
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
    """A code span; with ``cell`` one that may stand in a table."""
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

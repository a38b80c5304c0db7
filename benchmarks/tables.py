"""The tables of README.md and docs/results.md, rendered from ``benchmarks/results``.

    python benchmarks/tables.py [--check]

Each table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; a test checks them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from _tables_accuracy import ablations, continual, cross, fashion, methods, paper
from _tables_cost import container, decode, objectives, onnx_decode, replay_cost, runtime

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ACCURACY = (fashion, methods, ablations, cross, paper, continual)
COST = (objectives, container, decode, runtime, onnx_decode, replay_cost)
TABLES: dict[str, Callable[[], str]] = {make.__name__: make for make in (*ACCURACY, *COST)}


def rendered(text: str) -> str:
    """A page with all its tables made anew."""
    return MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text)


def main() -> int:
    stale = False
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = rendered(old)
        stale |= old != new
        if "--check" not in sys.argv:
            page.write_text(new, encoding="utf-8")
    return int(stale and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())

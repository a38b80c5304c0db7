"""The README's tables, rendered from ``benchmarks/results``.

    python benchmarks/tables.py [--check]

Each table stands in README.md between ``<!-- table: NAME -->`` and ``<!-- end -->``; a test checks them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from _tables_accuracy import ablations, continual, cross, fashion, methods, paper
from _tables_cost import container, decode, objectives, onnx_decode, replay_cost, runtime

README = Path(__file__).parents[1] / "README.md"
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ACCURACY = (fashion, methods, ablations, cross, paper, continual)
COST = (objectives, container, decode, runtime, onnx_decode, replay_cost)
TABLES: dict[str, Callable[[], str]] = {make.__name__: make for make in (*ACCURACY, *COST)}


def rendered(text: str) -> str:
    """The README with all tables made anew."""
    return MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text)


def main() -> int:
    old = README.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" in sys.argv:
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

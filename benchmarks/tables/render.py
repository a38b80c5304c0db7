"""Render the tables of README.md and docs/ from ``benchmarks/results``.

    python benchmarks/tables/render.py [--check]

Each table is between ``<!-- table: NAME -->`` and ``<!-- end -->``. A test checks that all tables are current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.tables.accuracy import ablations, continual, cross, fashion, methods, paper
from benchmarks.tables.cost import container, decode, objectives, onnx_decode, replay_cost, runtime
from benchmarks.tables.engines import engines
from benchmarks.tables.readers import readers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", DOCS / "results.md", DOCS / "engines.md", DOCS / "format.md")
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ACCURACY = (fashion, methods, ablations, cross, paper, continual)
COST = (objectives, container, decode, runtime, onnx_decode, replay_cost)
OTHERS = (engines, readers)
TABLES: dict[str, Callable[[], str]] = {make.__name__: make for make in (*ACCURACY, *COST, *OTHERS)}


def rendered(text: str) -> str:
    """A page with all its tables rendered again."""
    return MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text)


def stale() -> dict[Path, str]:
    """The pages that are not current, and what they should say."""
    pages = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return {page: new for page, old in pages.items() if (new := rendered(old)) != old}


def write() -> None:
    """Render all pages."""
    for page, text in stale().items():
        page.write_text(text, encoding="utf-8")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with status 1 if a page is not current.")
def main(check: bool) -> None:
    """Render the tables of README.md and docs/ from benchmarks/results."""
    pages = list(stale())
    if not check:
        write()
    for page in pages:
        click.echo(f"{page.relative_to(ROOT)}: {'not current' if check else 'rendered'}")
    sys.exit(1 if check and pages else 0)


if __name__ == "__main__":
    main()

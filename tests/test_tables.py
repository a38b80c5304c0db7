"""The tables of README and docs are those of the committed results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of ``benchmarks`` by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield __import__
    for name in ("tables", "_tables_accuracy", "_tables_cost", "_render", "_rows", "_common", "continual"):
        sys.modules.pop(name, None)


def test_every_table_stands_in_one_page_and_is_current(benchmark):
    made = benchmark("tables")
    texts = [page.read_text(encoding="utf-8") for page in made.PAGES]
    assert sorted(match[2] for text in texts for match in made.MARKED.finditer(text)) == sorted(made.TABLES)
    assert [made.rendered(text) for text in texts] == texts


def test_int8_costs_at_most_half_a_point(benchmark):
    (first, *_) = benchmark("_render").load("fashion-cpu")["budgets"]
    assert first["cost_points"]["int8"]["high"] < 0.5
    assert first["cost_points"]["int8"]["pairs"] >= 10

"""The README's tables are those of the committed results."""

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
    for name in ("tables", "_tables_accuracy", "_tables_cost", "_render", "_rows"):
        sys.modules.pop(name, None)


def test_every_table_of_the_readme_is_current(benchmark):
    made = benchmark("tables")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(made.TABLES) == {match[2] for match in made.MARKED.finditer(text)}
    assert made.rendered(text) == text


def test_int8_costs_at_most_half_a_point(benchmark):
    (first, *_) = benchmark("_render").load("fashion-cpu")["budgets"]
    assert first["cost_points"]["int8"]["high"] < 0.5
    assert first["cost_points"]["int8"]["pairs"] >= 10

"""The README's tables are those of the committed results."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_of_the_readme_is_current():
    made = tables()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(made.TABLES) == {match[2] for match in made.MARKED.finditer(text)}
    assert made.rendered(text) == text


def test_int8_costs_at_most_half_a_point():
    (first, *_) = tables().load("fashion-cpu")["budgets"]
    assert first["cost_points"]["int8"]["high"] < 0.5
    assert first["cost_points"]["int8"]["pairs"] >= 10

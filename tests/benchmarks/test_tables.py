"""The tables of README and docs are those of the committed results."""

from __future__ import annotations

import tables
from _render import load


def test_every_table_stands_in_one_page_and_is_current():
    texts = [page.read_text(encoding="utf-8") for page in tables.PAGES]
    assert sorted(match[2] for text in texts for match in tables.MARKED.finditer(text)) == sorted(tables.TABLES)
    assert [tables.rendered(text) for text in texts] == texts


def test_int8_costs_at_most_half_a_point():
    (first, *_) = load("fashion-cpu")["budgets"]
    assert first["cost_points"]["int8"]["high"] < 0.5
    assert first["cost_points"]["int8"]["pairs"] >= 10

"""The tables of README and docs are those of the committed results."""

from __future__ import annotations

from click.testing import CliRunner

from benchmarks.tables import render
from benchmarks.tables.results import load


def test_every_table_stands_in_one_page_and_is_current():
    texts = [page.read_text(encoding="utf-8") for page in render.PAGES]
    assert sorted(match[2] for text in texts for match in render.MARKED.finditer(text)) == sorted(render.TABLES)
    assert [render.rendered(text) for text in texts] == texts


def test_a_page_that_is_not_current_is_named(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: decode -->\nold\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "PAGES", (page,))
    checked = CliRunner().invoke(render.main, ["--check"])
    assert (checked.exit_code, checked.output) == (1, "page.md: not current\n")
    assert "old" in page.read_text(encoding="utf-8")
    assert CliRunner().invoke(render.main, []).exit_code == 0
    assert render.decode() in page.read_text(encoding="utf-8")
    assert CliRunner().invoke(render.main, ["--check"]).exit_code == 0


def test_int8_costs_at_most_half_a_point():
    (first, *_) = load("fashion-cpu")["budgets"]
    assert first["cost_points"]["int8"]["high"] < 0.5
    assert first["cost_points"]["int8"]["pairs"] >= 10

"""The pages of docs/ say what the code says."""

from __future__ import annotations

import re

from dsetpack.trainers import matches, objectives, parameterizations
from tests.support.paths import DOCS


def test_the_table_of_pairs_is_current():
    text = matches.PAGE.read_text(encoding="utf-8")
    assert matches.rendered(text) == text, "run: python -m dsetpack.trainers.matches"


def test_the_table_of_pairs_agrees_with_the_list():
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in matches.table().splitlines() if "|" in line
    ]
    columns, body = rows[0][1:], rows[2:]
    assert columns == [*parameterizations.known()]
    assert [row[0] for row in body] == [*objectives.known()]
    found = {(row[0], on) for row in body for on, cell in zip(columns, row[1:], strict=True) if cell == "yes"}
    assert found == set(matches.pairs())
    reasons = dict(re.findall(r"^(\d+)\. (.+)\.$", matches.table(), re.MULTILINE))
    for row in body:
        for on, cell in zip(columns, row[1:], strict=True):
            if cell != "yes":
                reason = matches.refusal(row[0], on)
                assert reasons[re.fullmatch(r"no \((\d+)\)", cell)[1]] == reason[:1].upper() + reason[1:]


def test_only_what_is_between_the_markers_is_written():
    page = f"before\n{matches.BEGIN}\nold\n{matches.END}\nafter\n"
    new = matches.rendered(page)
    assert new.startswith(f"before\n{matches.BEGIN}\n| objective | ")
    assert new.endswith(f"{matches.END}\nafter\n")
    assert matches.rendered(new) == new


def test_links_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

"""The table of inference engines."""

from __future__ import annotations

from collections import Counter

from benchmarks.cases import engine_packs
from benchmarks.cases.engine_outcomes import ORDER, OUTSIDE
from benchmarks.cases.engines import ENGINES
from benchmarks.tables.results import Json, rows_of, table

OUTSIDE_WORDS = {"right": "nearest pair", "right anew": "nearest pair", "wrong": "another pair"}
"""What outcomes mean for numbers that do not exist."""


def engines() -> str:
    """What engines make of exported packs: a line for each engine and form, a column for what a graph has to do."""
    found = {row["engine"]: row for row in rows_of("engines-cpu")}
    known = [found[name] for name in ENGINES if name in found]
    forms = list(dict.fromkeys(_form(model) for row in known for model in row["cells"]))
    rows = [[_title(row), form, *_line(row, form)] for row in known for form in forms]
    days = sorted({row["environment"]["date"][:10] for row in known})
    machines = sorted({f"{row['environment']['machine']}, {row['environment']['cores']} cores" for row in known})
    commits = sorted({str(row["environment"]["commit"]) for row in known})
    note = f"{'; '.join(machines)}; {' to '.join(dict.fromkeys((days[0], days[-1])))}, commit {', '.join(commits)}."
    return "\n".join([table(["engine", "form", *engine_packs.GROUPS, "numbers that do not exist"], rows), "", note])


def _form(model: str) -> str:
    return model.rpartition("; ")[2]


def _title(row: Json) -> str:
    """An engine and its packages; numpy and onnx are there with all of them."""
    pins = [pin for pin in row["packages"] if not pin.startswith("numpy==")]
    own = [pin for pin in pins if not pin.startswith("onnx==")] or pins
    return f"{ENGINES[row['engine']].title} (`{', '.join(own)}`)"


def _line(row: Json, form: str) -> list[str]:
    """The columns of one engine and form."""
    cells = {model: batches for model, batches in row["cells"].items() if _form(model) == form}
    by_group = [
        _tally([
            cell["outcome"]
            for model, batches in cells.items() if engine_packs.CASES[model.partition(";")[0]].group == group
            for batch, cell in batches.items() if batch != OUTSIDE
        ])
        for group in engine_packs.GROUPS
    ]  # fmt: skip
    outside = [batches[OUTSIDE]["outcome"] for batches in cells.values()]
    return [*by_group, _tally([OUTSIDE_WORDS.get(one, one) for one in outside])]


def _tally(outcomes: list[str]) -> str:
    """One outcome if there is no other, or each with how often it came."""
    counted = Counter(outcomes)
    if len(counted) == 1:
        return outcomes[0]
    kinds = sorted(counted, key=lambda kind: ORDER.index(kind) if kind in ORDER else -1)
    return ", ".join(f"{counted[kind]} {kind}" for kind in kinds)

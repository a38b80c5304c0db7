"""Which objective goes with which parameterization: the table in the docs, made from the code.

    python -m dsetpack.trainers.matches [--check]

This writes the table into ``docs/methods.md``; ``--check`` only checks whether it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dsetpack.trainers import objectives, parameterizations

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
BEGIN, END = "<!-- pairs -->", "<!-- end of pairs -->"


def pairs() -> list[tuple[str, str]]:
    """All pairs (objective, parameterization) that make sense."""
    return [
        (objective, on)
        for objective in objectives.known()
        for on in parameterizations.known()
        if refusal(objective, on) is None
    ]


def refusal(objective: str, parameterization: str) -> str | None:
    """Why an objective makes no sense with a parameterization; None if it makes sense."""
    return objectives.known()[objective].refuses.get(parameterization)


def table() -> str:
    """The pairs as Markdown: one row per objective, with the reasons below."""
    columns = parameterizations.known()
    rows = [["objective", *columns], ["---"] * (len(columns) + 1)]
    reasons: list[str] = []
    for objective in objectives.known():
        row = [f"`{objective}`"]
        for on in columns:
            reason = refusal(objective, on)
            if reason is not None and reason not in reasons:
                reasons.append(reason)
            row.append("yes" if reason is None else f"no ({reasons.index(reason) + 1})")
        rows.append(row)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{n}. {reason[:1].upper()}{reason[1:]}." for n, reason in enumerate(reasons, 1))])


def rendered(text: str) -> str:
    """The page with the table between its markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Write the page and return 0; with ``--check``, only compare and return 1 if the page is not current."""
    old = PAGE.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
        return 0
    return int(new != old)


if __name__ == "__main__":
    raise SystemExit(main())

"""How an engine fared with one batch of one model, and what is worse than before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cases.engines import TOLERANCE

ORDER = ("right", "right anew", "refused", "crashed", "slow", "wrong")
"""Outcomes from best to worst. Wrong images without an error are worse than none."""
OUTSIDE_ORDER = ("refused", "right", "right anew", "crashed", "slow", "wrong")
"""The same for numbers that do not exist."""
OUTSIDE = "outside"
"""The name of the batch with numbers that do not exist."""
Cells = dict[str, dict[str, dict[str, Any]]]
"""What was found, by model and batch."""


def outcome(answer: dict[str, Any]) -> dict[str, Any]:
    """The cell of an engine's answer."""
    if "error" not in answer:
        return {"outcome": "refused", "message": answer["message"]}
    error = answer["error"]
    if error is None or error > TOLERANCE:
        return {"outcome": "wrong", "error": error} | ({"message": answer["message"]} if "message" in answer else {})
    return {"outcome": "right anew" if answer["anew"] else "right", "error": error}


def worse(recorded: Cells, found: Cells) -> Iterator[str]:
    """A line for each cell that is worse than the recorded one, or is not measured any more."""
    for model, batches in recorded.items():
        for batch, old in batches.items():
            cell = found.get(model, {}).get(batch, {"outcome": "not measured"})
            order = OUTSIDE_ORDER if batch == OUTSIDE else ORDER
            if cell["outcome"] not in order or order.index(cell["outcome"]) > order.index(old["outcome"]):
                yield f"{model}; {batch}: {old['outcome']} -> {cell['outcome']} {cell.get('message', '')}".rstrip()


def counts(cells: Cells) -> str:
    """How often each outcome was found, without numbers that do not exist."""
    found = [cell["outcome"] for of in cells.values() for batch, cell in of.items() if batch != OUTSIDE]
    return ", ".join(f"{found.count(kind)} {kind}" for kind in ORDER if kind in found)

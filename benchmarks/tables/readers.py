"""The tables of what other people's programs make of our files."""

from __future__ import annotations

from benchmarks.cases.readers import READERS
from benchmarks.tables.results import load, table


def readers() -> str:
    """Which HDF5 readers get the stored arrays of packs."""
    results = load("readers-cpu")
    cells = results["cells"]
    packs = list(next(iter(cells.values())))
    rows = [
        [
            f"{READERS[name].title}, {_version(name)}",
            READERS[name].how or "–",
            *(found[pack]["outcome"] for pack in packs),
        ]
        for name, found in cells.items()
    ]
    said = [
        f"- {READERS[name].title}: {_said(found)}"
        for name, found in cells.items()
        if any(cell["outcome"] != "right" for cell in found.values())
    ]
    run = results["environment"]
    note = f"- Measured {run['date'][:10]}, commit {run['commit']}, Python {run['python']}."
    return "\n".join([table(["reader", "how", *packs], rows), "", *said, note])


def _version(name: str) -> str:
    """The version of a reader's own package."""
    return READERS[name].requirements[0].partition("==")[2]


def _said(found: dict[str, dict[str, str]]) -> str:
    """What a reader says of the packs that it does not read, each message once."""
    messages: dict[str, list[str]] = {}
    for pack, cell in found.items():
        if cell["outcome"] != "right":
            messages.setdefault(cell.get("message", cell["outcome"]), []).append(pack)
    return "; ".join(
        f"`{message.replace('`', chr(39))}` ({'all' if len(packs) == len(found) else ', '.join(packs)})"
        for message, packs in messages.items()
    )

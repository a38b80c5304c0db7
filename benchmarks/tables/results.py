"""What the tables share: reading results by name, and writing Markdown."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.common import RESULTS

Json = dict[str, Any]


def load(name: str) -> Json:
    """The results of a command that writes one file."""
    content: Json = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def rows_of(name: str) -> list[Json]:
    """The rows of a command that writes one file per row."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / name).glob("*.json"))]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where(environment: Json) -> str:
    """The machine, versions, date and commit of a run, on one line."""
    threads = f", {environment['threads']} thread(s)" if environment["device"] == "cpu" else ""
    device = "CPU" if environment["device"] == "cpu" else environment["device"]
    return (
        f"{device}{threads} ({environment['machine']}, {environment['cores']} cores), torch {environment['torch']}, "
        f"{environment['date'][:10]}, commit {environment['commit']}"
    )


def percent(value: Json) -> str:
    """Accuracy and standard deviation in percent."""
    return f"{100 * value['accuracy']:.1f} ± {100 * value['std']:.1f}" if "accuracy" in value else "not measured"

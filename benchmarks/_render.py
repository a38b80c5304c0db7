"""What the tables share: results by name, and Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Json = dict[str, Any]


def load(name: str) -> Json:
    content: Json = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def rows_of(name: str) -> list[Json]:
    """The rows of a benchmark that writes a file a row."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / name).glob("*.json"))]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where(environment: Json) -> str:
    threads = f", {environment['threads']} thread(s)" if environment["device"] == "cpu" else ""
    device = "CPU" if environment["device"] == "cpu" else environment["device"]
    return (
        f"{device}{threads} ({environment['machine']}, {environment['cores']} cores), torch {environment['torch']}, "
        f"{environment['date'][:10]}, commit {environment['commit']}"
    )


def percent(value: Json) -> str:
    return f"{100 * value['accuracy']:.1f} ± {100 * value['std']:.1f}" if "accuracy" in value else "not measured"

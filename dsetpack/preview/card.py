"""The card as HTML: the main facts, the measured results, and every other field."""

from __future__ import annotations

import json
from typing import Any

from dsetpack.cards.facts import Facts, PartFacts
from dsetpack.cards.text import line
from dsetpack.formats.card import Card, Metric
from dsetpack.formats.words import plural
from dsetpack.preview.escape import text

RESULTS = 200
CLASSES = 1000
ITEMS = 24
"""The largest numbers of rows, of class names, and of numbers in a list; the page says how many there are."""


def summary(facts: Facts) -> str:
    """Make the summary: the few facts that people ask for first."""
    card, made = facts.card, " + ".join(_product(part) for part in facts.parts)
    if [part.kind for part in facts.parts] == ["images"]:
        made = ""
    rows = {
        "File": f"<b>{facts.size:,}</b> bytes",
        "Images": f"<b>{f'{facts.images:,}' if facts.images else 'any number'}</b> <small>{text(made)}</small>",
        "Classes": f"<b>{len(card.classes):,}</b>",
        "Image size": f"<b>{'×'.join(map(str, card.shape))}</b> <small>{card.space.kind} space</small>",
    }
    if card.metrics:
        best = card.metrics[-1]
        rows["Last result"] = f"<b>{_percent(best)}</b> <small>{text(best.name)}, {text(_network(best))}</small>"
    return "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in rows.items())


def _product(part: PartFacts) -> str:
    if not part.stored:
        return f"{part.sources:,} drawn by a {part.kind}" if part.sources else f"drawn by a {part.kind}"
    if part.kind == "images":
        return plural(part.sources, "plain image")
    times = f" × {part.decoders:,} decoders" if part.decoders > 1 else ""
    return f"{plural(part.sources, 'source')}{times} ({part.kind})"


def byline(facts: Facts) -> str:
    """Make the line that says who made the set, where it comes from, and how it may be used."""
    told = (facts.card.credit, facts.card.license, facts.address)
    said = " · ".join(f"<span>{text(words)}</span>" for words in told if words)
    return f'<p class="byline">{said}</p>' if said else ""


def opening(facts: Facts) -> str:
    """Make the lines that install dsetpack and open the pack."""
    name = facts.name if facts.name.endswith(".dpk") else "FILE.dpk"
    path = json.dumps(line(name), ensure_ascii=False)
    drawn = "" if facts.images else ", per_class=10"
    lines = (
        "import dsetpack",
        f'pack = dsetpack.open({path}, digest="{facts.digest}"{drawn})',
        "x, y = pack.decode([0])",
    )
    return f"<pre>pip install dsetpack</pre>\n<pre>{'<br>'.join(map(text, lines))}</pre>"


def results_table(card: Card) -> str:
    """Make the table of measured results."""
    if not card.metrics:
        return '<p class="note">The card has no measured result.</p>'
    head = ("measure", "value", "network", "tested on", "seeds", "recipe", "note")
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(_result(metric) for metric in card.metrics[:RESULTS])
    more = len(card.metrics) - RESULTS
    note = f'<p class="note">{more:,} more results are in the file.</p>' if more > 0 else ""
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Measured results"><table>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _result(metric: Metric) -> str:
    digest = f'<br><small class="digest">{text(metric.test_digest)}</small>' if metric.test_digest else ""
    cells = (
        f'<b class="whole">{_percent(metric)}</b>',
        text(_network(metric)),
        f"{text(metric.test_data)}{digest}",
        f"{metric.seeds:,}",
        "the card's own" if metric.protocol == "own" else text(metric.protocol),
        text(metric.note or ""),
    )
    return f'<tr><th scope="row">{text(metric.name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _percent(metric: Metric) -> str:
    spread = "" if metric.std is None else f" ± {metric.std:.2%}"
    return f"{metric.value:.2%}{spread}"


def _network(metric: Metric) -> str:
    return metric.arch if metric.width is None else f"{metric.arch}, width {metric.width}"


def card_list(facts: Facts) -> str:
    """Make a definition list of every other field of the card, and of the file's digests."""
    card = facts.card
    fields = card.model_dump(mode="json", exclude={"title", "description", "metrics", "classes", "provenance"})
    rows: dict[str, Any] = {"classes": card.classes[:CLASSES], **fields}
    rows |= {f"provenance: {key}": value for key, value in card.provenance.model_dump(mode="json").items()}
    rows |= {"digest": facts.digest, "content digest": facts.content_digest, "format": facts.version}
    if (more := len(card.classes) - CLASSES) > 0:
        rows["classes"] = (*rows["classes"], f"… and {more:,} more")
    shown = {key: value for key, value in rows.items() if value not in (None, "", {}, [], ())}
    return "".join(
        f"<div><dt>{text(key.replace('_', ' '))}</dt><dd>{_value(value)}</dd></div>" for key, value in shown.items()
    )


def _value(value: Any) -> str:
    """Show a JSON value: simple lists on one line, an object as a nested list, and anything deeper as JSON."""
    if isinstance(value, dict):
        pairs = ((key, item) for key, item in value.items() if item is not None)
        inner = "".join(f"<div><dt>{text(key)}</dt><dd>{_deep(item)}</dd></div>" for key, item in pairs)
        return f"<dl>{inner}</dl>"
    return _deep(value)


def _deep(value: Any) -> str:
    if isinstance(value, list | tuple) and not any(isinstance(item, dict | list | tuple) for item in value):
        numbers = all(isinstance(item, int | float) for item in value)
        if numbers and len(value) > ITEMS:
            return f"{', '.join(map(_word, value[:ITEMS]))}, … ({len(value):,} numbers)"
        return ", ".join(map(_word, value)) or "none"
    if isinstance(value, dict | list | tuple):
        return f"<code>{text(json.dumps(value, ensure_ascii=False))}</code>"
    return _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else text(value)

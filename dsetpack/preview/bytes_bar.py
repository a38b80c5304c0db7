"""The bytes of a file by tensor: as a bar with one segment per tensor, and as a table."""

from __future__ import annotations

from dsetpack.cards.facts import Facts, TensorFacts
from dsetpack.formats.card import ZcaSpace
from dsetpack.formats.words import plural
from dsetpack.preview.escape import text

ROLES = {
    "sources": "sources",
    "labels": "labels",
    "decoders": "decoders",
    "scales": "scales of quantized tensors",
    "space": "pixel space",
    "container": "header, manifest, HDF5",
}
WIDTH, HEIGHT, GAP = 1000.0, 36, 2.0
TABLE = 300
"""The largest number of rows; the last tensors are summed up."""


def bar_and_table(facts: Facts) -> str:
    """Make the bar, its legend and the table."""
    rows = _rows(facts)
    sums = {role: sum(t.stored for r, t in rows if r == role) for role in ROLES if role != "container"}
    sums["container"] = facts.size - sum(sums.values())
    present = {role: size for role, size in sums.items() if size}
    return (
        f"{_bar(rows, present, facts.size)}\n{_legend(present, facts.size)}\n{_table(rows, sums['container'], facts)}"
    )


def _rows(facts: Facts) -> list[tuple[str, TensorFacts]]:
    """All tensors with their roles, sorted by role, and the largest first."""
    roles = _roles(facts)
    order = list(ROLES)
    rows = [(roles.get(tensor.name, "scales"), tensor) for tensor in facts.tensors]
    return sorted(rows, key=lambda row: (order.index(row[0]), -row[1].stored, row[1].name))


def _roles(facts: Facts) -> dict[str, str]:
    """The role of each tensor that a part or the space names; the others are side tensors of encodings."""
    roles = {}
    for part in facts.manifest.parts:
        for role, name in part.tensors.items():
            roles[name] = role if role in ("sources", "labels") else "decoders"
    if isinstance(space := facts.card.space, ZcaSpace):
        roles |= {name: "space" for name in (space.mean, space.matrix) if name}
    return roles


def _bar(rows: list[tuple[str, TensorFacts]], sums: dict[str, int], total: int) -> str:
    pieces = [(role, tensor.name, tensor.stored) for role, tensor in rows if tensor.stored]
    pieces.append(("container", ROLES["container"], sums.get("container", 0)))
    at, rects = 0.0, []
    for role, name, size in pieces:
        width = WIDTH * size / total
        drawn = max(width - GAP, min(width, 0.5))
        title = f"<title>{text(name)}: {size:,} bytes</title>"
        rects.append(f'<rect class="fill-{role}" x="{at:.2f}" width="{drawn:.2f}" height="{HEIGHT}">{title}</rect>')
        at += width
    told = ", ".join(f"{ROLES[role]} {size / total:.1%}" for role, size in sums.items())
    return (
        f'<svg class="bar" viewBox="0 0 {WIDTH:.0f} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(f"Of {total:,} bytes: {told}")}">{"".join(rects)}</svg>'
    )


def _legend(sums: dict[str, int], total: int) -> str:
    items = "".join(
        f'<li><span class="swatch back-{role}"></span>{ROLES[role]} <b>{size:,}</b> '
        f"<small>{size / total:.1%}</small></li>"
        for role, size in sums.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _table(rows: list[tuple[str, TensorFacts]], container: int, facts: Facts) -> str:
    body = "".join(_line(role, tensor, facts.size) for role, tensor in rows[:TABLE])
    if left := rows[TABLE:]:
        size = sum(tensor.stored for _, tensor in left)
        more = plural(len(left), "more tensor")
        body += f'<tr><th scope="row">{more}</th>{_share(size, facts.size)}<td colspan="4"></td></tr>'
    body += _total("container", ROLES["container"], container, facts.size)
    body += _total("", "the whole file", facts.size, facts.size)
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="Bytes by tensor"><table class="whole">
<caption>Bytes by tensor; of tensors that share a dataset, in proportion to their elements</caption>
<thead><tr><th scope="col">tensor</th><th scope="col" class="n">bytes</th><th scope="col" class="n">share</th>\
<th scope="col">role</th><th scope="col">shape</th><th scope="col">dtype</th><th scope="col">encodings</th></tr></thead>
<tbody>{body}</tbody></table></div>"""


def _line(role: str, tensor: TensorFacts, total: int) -> str:
    shape, steps = "×".join(map(str, tensor.shape)) or "scalar", " → ".join(tensor.steps)
    return (
        f'<tr><th scope="row"><span class="swatch back-{role}"></span>{text(tensor.name)}</th>'
        f"{_share(tensor.stored, total)}<td>{role}</td><td>{shape}</td><td>{tensor.dtype}</td>"
        f"<td>{text(steps)}</td></tr>"
    )


def _total(role: str, name: str, size: int, total: int) -> str:
    swatch = f'<span class="swatch back-{role}"></span>' if role else ""
    return f'<tr><th scope="row">{swatch}{name}</th>{_share(size, total)}<td colspan="4"></td></tr>'


def _share(size: int, total: int) -> str:
    return f'<td class="n">{size:,}</td><td class="n">{size / total:.1%}</td>'

"""The pictures as HTML: for each part a switch and a list of sources, each with its own picture and decoded images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsetpack.formats.words import plural
from dsetpack.preview.escape import text
from dsetpack.preview.pictures import Gallery, Pictures, Shown

SOURCE, ALL = "source", "all"
"""The views besides the decoders' numbers."""
FEW = 6
"""Up to this number of views, two sources fit beside each other on a wide screen."""


def sections(pictures: Pictures) -> str:
    """Make the sections of all parts that are shown."""
    made = [_section(pictures, part) for part in pictures.parts]
    left = len(pictures.pack.parts) - len(pictures.parts)
    return "\n".join([*made, *([f'<p class="note">{left} more parts are not shown.</p>'] if left else [])])


def views(part: Gallery) -> tuple[str, ...]:
    """The views that the switch offers; empty if there is nothing to choose."""
    shown = len(part.rows[0].decoded) if part.rows else 0
    decoders = tuple(str(n) for n in range(shown))
    source = (SOURCE,) if part.source_kind else ()
    return (ALL, *source, *decoders) if len(source) + shown > 1 else ()


def view_rules(parts: Iterable[Gallery]) -> str:
    """Make the style rules by which only the pictures of the chosen view are shown."""
    known = dict.fromkeys(view for part in parts for view in views(part) if view != ALL)
    return "".join(f".part:has(.show-{v}:checked) .sources figure:not(.is-{v}) {{ display: none; }}\n" for v in known)


def _section(pictures: Pictures, part: Gallery) -> str:
    several = len(pictures.pack.parts) > 1
    name = f"Part {part.number}{f': {part.part.name}' if part.part.name else ''}" if several else "Images"
    real = ' <span class="badge">real images, selected</span>' if pictures.real else ""
    rows = "".join(_row(pictures, part, row) for row in part.rows)
    few = " few" if len(views(part)) <= FEW else ""
    lists = "" if part.part.class_decoders is None else " lists"
    return f"""<section class="part" id="part-{part.number}" aria-labelledby="part-{part.number}-name">
<h2 id="part-{part.number}-name">{text(name)}{real}</h2>
<p class="note">{_told(pictures, part)}</p>
<div class="tools">{_switch(part)}{_filter(pictures, part)}</div>
<p class="count" role="status"></p>
<ul class="sources{few}{lists}">{rows}</ul>
</section>"""


def _told(pictures: Pictures, part: Gallery) -> str:
    """The note on how many sources and decoders are shown, and how."""
    sources, slots = len(part.part), part.part.slots
    shown = len(part.rows[0].decoded) if part.rows else 0
    drawn = part.part.sources is None
    said = [f"{len(part.rows):,} of {sources:,} {'draws' if drawn else 'sources'}"]
    if slots > 1 or part.source_kind:
        said.append(f"{shown} of {plural(slots, 'decoder')}")
    said.append(f"kind {part.part.kind}")
    if len({p.stage for p in pictures.pack.parts}) > 1:
        said.append(f"stage {part.part.stage}")
    said.append("pixels clipped to [0, 1]")
    if part.shrunk:
        said.append(f"shrunk to {part.size[1]}×{part.size[0]} pixels (height × width)")
    if part.source_kind == "code":
        said.append("of a source, each channel is a grey tile, from its smallest number, black, to its largest, white")
    return text("; ".join(said)) + "."


def _switch(part: Gallery) -> str:
    """Make radio buttons: the browser handles arrow keys, and the style sheet shows the choice, without a script."""
    choices = "".join(
        f'<label><input type="radio" name="view-{part.number}" value="{view}" class="show-{view}" '
        f'aria-label="{name}"{" checked" if view == ALL else ""}><span aria-hidden="true">{short}</span></label>'
        for view, name, short in _choices(part)
    )
    return f'<fieldset class="switch"><legend>Show</legend>{choices}</fieldset>' if choices else ""


def _choices(part: Gallery) -> Iterator[tuple[str, str, str]]:
    """Each view with its name and a short name; if classes have their own decoders, views are places in their lists."""
    word = "Decoder" if part.part.class_decoders is None else "Place in the class's list"
    for view in views(part):
        name = {ALL: "Side by side", SOURCE: "Source"}.get(view, f"{word} {view}")
        yield view, name, name if view in (ALL, SOURCE, "0") else view


def _filter(pictures: Pictures, part: Gallery) -> str:
    classes = pictures.pack.card.classes
    present = sorted({row.label for row in part.rows})
    if len(present) < 2:
        return ""
    options = "".join(f'<option value="{n}">{text(classes[n])}</option>' for n in present)
    return (
        f'<label class="filter needs-script" hidden>Class <select><option value="">all {len(present)}</option>'
        f"{options}</select></label>"
    )


def _row(pictures: Pictures, part: Gallery, row: Shown) -> str:
    name = text(pictures.pack.card.classes[row.label])
    soft = "" if row.weight is None else f" <small>{row.weight:.2f}</small>"
    drawn = "draw" if part.part.sources is None else "source"
    figures = "".join(_figures(part, row, f"{name}, {drawn} {row.number}"))
    return (
        f'<li data-class="{row.label}"><button type="button" disabled aria-haspopup="dialog">'
        f'<span class="name">{name}{soft}</span> <span class="number">{drawn} {row.number}</span></button>'
        f'<div class="pictures">{figures}</div></li>'
    )


def _figures(part: Gallery, row: Shown, of: str) -> Iterator[str]:
    width, height = part.size
    if row.source is not None:
        what = "the source" if part.source_kind == "image" else "the code"
        yield _figure(SOURCE, row.source, f"{of}: {what}", "source", "")
    for place, (number, uri) in enumerate(zip(row.decoders, row.decoded, strict=True)):
        single = not views(part)
        alt = of if single else f"{of}: decoder {number}"
        size = f' width="{width}" height="{height}"'
        yield _figure(str(place), uri, alt, "" if single else f"decoder {number}", size)


def _figure(view: str, uri: str, alt: str, caption: str, size: str) -> str:
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="is-{view}"><img src="{uri}" alt="{alt}"{size}>{below}</figure>'

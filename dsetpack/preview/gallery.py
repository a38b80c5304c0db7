"""The pictures as HTML: plain images in one row per class; else a switch, and sources with their decoded images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from dsetpack.formats.words import plural
from dsetpack.preview.escape import text
from dsetpack.preview.pictures import Gallery, Pictures, Shown
from dsetpack.preview.rows import fitted, plain

SOURCE, ALL = "source", "all"
"""The views besides the decoders' numbers."""
FEW = 6
"""Up to this number of views, two sources fit beside each other on a wide screen."""
ROW = 4
"""From this number of images of a class, each class has a row; fewer are shown in one grid, each with its class."""
ENLARGED, TILE = 72, 112
"""The sides to which small pictures are enlarged by whole numbers, and large ones shrunk, on the screen."""


def sections(pictures: Pictures) -> str:
    """Make the sections of all parts that are shown."""
    made = [_section(pictures, part) for part in pictures.parts]
    left = len(pictures.pack.parts) - len(pictures.parts)
    more = plural(left, "more part")
    return "\n".join([*made, *([f'<p class="note">{more} not shown.</p>'] if left else [])])


def views(part: Gallery) -> tuple[str, ...]:
    """The views that the switch offers; empty if there is nothing to choose."""
    shown = len(part.rows[0].images)
    decoders = tuple(str(n) for n in range(shown))
    source = (SOURCE,) if part.source_kind else ()
    return (ALL, *source, *decoders) if len(source) + shown > 1 else ()


def rules(parts: Iterable[Gallery]) -> str:
    """Make the style rules that depend on the pictures: the sizes of tiles, and what each choice of a switch shows."""
    parts = list(parts)
    known = dict.fromkeys(view for part in parts for view in views(part) if view != ALL)
    sizes = [f"#part-{part.number} {{ --tile: {_tile(part)}px; }}\n" for part in parts]
    chosen = [f".part:has(.show-{v}:checked) .sources figure:not(.is-{v}) {{ display: none; }}\n" for v in known]
    return "".join(sizes + chosen)


def _tile(part: Gallery) -> int:
    """The width of a decoded picture on the screen."""
    width, height = part.size
    side = math.sqrt(width * height)
    return int(ENLARGED // side) * width if side <= ENLARGED else fitted(width, height, TILE)[0]


def _section(pictures: Pictures, part: Gallery) -> str:
    several = len(pictures.pack.parts) > 1
    name = f"Part {part.number}{f': {part.part.name}' if part.part.name else ''}" if several else "Images"
    real = ' <span class="badge">real images, selected</span>' if pictures.real else ""
    fine = " smooth" if math.prod(part.size) > ENLARGED**2 else ""
    return f"""<section class="part{fine}" id="part-{part.number}" aria-labelledby="part-{part.number}-name">
<h2 id="part-{part.number}-name">{text(name)}{real}</h2>
<p class="note">{_told(pictures, part)}</p>
<div class="tools">{_switch(part)}{_filter(pictures, part)}</div>
<p class="count" role="status"></p>
{_pager("Pages of images")}
{_sources(pictures, part)}
{_pager("Pages of images, once more")}
</section>"""


def _pager(name: str) -> str:
    """Make buttons that turn pages; the script shows them if there are several."""
    return (
        f'<nav class="pager" aria-label="{name}" hidden>'
        '<button type="button" class="back" aria-label="Previous page">←</button>'
        '<label><span class="range"></span> <select aria-label="Page"></select></label>'
        '<button type="button" class="on" aria-label="Next page">→</button></nav>'
    )


def _sources(pictures: Pictures, part: Gallery) -> str:
    if plain(part.part) and max(Counter(row.label for row in part.rows).values()) >= ROW:
        of_class = groupby(part.rows, key=lambda row: row.label)
        return f'<div class="sources rows">{"".join(_class(pictures, part, *group) for group in of_class)}</div>'
    few = " few" if len(views(part)) <= FEW else ""
    lists = "" if part.part.class_decoders is None else " lists"
    return f'<ul class="sources{few}{lists}">{"".join(_row(pictures, part, row) for row in part.rows)}</ul>'


def _class(pictures: Pictures, part: Gallery, label: int, rows: Iterator[Shown]) -> str:
    """Make the row of a class."""
    name, images = text(pictures.pack.card.classes[label]), list(rows)
    word, (width, height) = _word(part), part.size
    items = "".join(
        f'<li class="item" data-class="{label}"><button type="button" disabled aria-haspopup="dialog">'
        f'<img src="{row.images[0]}" alt="{name}{_weight(row)}, {word} {row.number}" width="{width}" height="{height}">'
        "</button></li>"
        for row in images
    )
    count = f"{len(images):,} {word}{'' if len(images) == 1 else 's'}"
    return f'<section class="row"><h3>{name} <small>{count}</small></h3><ul class="tiles">{items}</ul></section>'


def _word(part: Gallery) -> str:
    """What a row of ``part.rows`` is called."""
    return "draw" if part.part.sources is None else "image" if plain(part.part) else "source"


def _weight(row: Shown) -> str:
    return "" if row.weight is None else f" {row.weight:.2f}"


def _told(pictures: Pictures, part: Gallery) -> str:
    """The note on how many sources and decoders are shown, and how."""
    sources, slots = len(part.part), part.part.slots
    every = plural(sources, _word(part))
    said = [f"{len(part.rows):,} of {every}" if len(part.rows) < sources else f"All {every}"]
    if slots > 1 or part.source_kind:
        said.append(f"{len(part.rows[0].images)} of {plural(slots, 'decoder')}")
    said.append(f"kind {part.part.kind}")
    if len({p.stage for p in pictures.pack.parts}) > 1:
        said.append(f"stage {part.part.stage}")
    said.append("pixels clipped to [0, 1]")
    if part.shrunk:
        said.append(f"shrunk to {part.size[1]}×{part.size[0]} pixels (height × width)")
    if part.form.format != "PNG":
        said.append(f"stored with loss, as {part.form.format.replace('WEBP', 'WebP')}")
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
    name, word = text(pictures.pack.card.classes[row.label]), _word(part)
    soft = "" if row.weight is None else f" <small>{row.weight:.2f}</small>"
    figures = "".join(_figures(part, row, f"{name}, {word} {row.number}"))
    return (
        f'<li class="item" data-class="{row.label}"><button type="button" disabled aria-haspopup="dialog">'
        f'<span class="name">{name}{soft}</span> <span class="number">{word} {row.number}</span></button>'
        f'<div class="pictures">{figures}</div></li>'
    )


def _figures(part: Gallery, row: Shown, of: str) -> Iterator[str]:
    width, height = part.size
    if row.source is not None:
        what = "the source" if part.source_kind == "image" else "the code"
        yield _figure(SOURCE, row.source, f"{of}: {what}", "source", "")
    for place, (number, uri) in enumerate(zip(row.decoders, row.images, strict=True)):
        single = not views(part)
        alt = of if single else f"{of}: decoder {number}"
        size = f' width="{width}" height="{height}"'
        yield _figure(str(place), uri, alt, "" if single else f"decoder {number}", size)


def _figure(view: str, uri: str, alt: str, caption: str, size: str) -> str:
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="is-{view}"><img src="{uri}" alt="{alt}"{size}>{below}</figure>'

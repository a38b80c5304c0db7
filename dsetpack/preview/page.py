"""A pack as one self-contained HTML page: pictures, bytes, card and results. It uses no network and trusts no card.

``page.html`` is the frame, which ``page.css`` and ``page.js`` are inserted into; Python adds escaped text and
``data:`` pictures.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template

from dsetpack.cards.facts import facts
from dsetpack.formats.source import Readable
from dsetpack.pack.opened import open_to_show
from dsetpack.preview.bytes_bar import bar_and_table
from dsetpack.preview.card import byline, card_list, opening, results_table, summary
from dsetpack.preview.escape import paragraphs, text
from dsetpack.preview.gallery import rules, sections
from dsetpack.preview.pictures import draw
from dsetpack.version import __version__


def page(where: Readable, rows: int | None = None, columns: int | None = None, per_class: int | None = None) -> str:
    """Make the page.

    Args:
        where: path, bytes, binary file object or fsspec URL of a pack; every byte of it is checked first.
        rows: the largest number of rows: classes of plain images, or sources; by default all.
        columns: the largest number of images of a class, by default all, or of decoders, by default 12. If there are
            too many pictures, they are stored with loss, then shrunk, and in the end fewer are shown; the page says so.
        per_class: images per class of a generator; by default its card's number, or a few.

    Returns:
        HTML, which takes some 100 kB to 9 MB in UTF-8. The same file gives the same page.

    Raises:
        DsetpackError: if it is not a sound pack, or if its space cannot be inverted before it is fitted again.
        OSError: if it cannot be read.
    """
    told = facts(where)
    shown = draw(open_to_show(where, told.digest, per_class=per_class), rows, columns)
    style, script = _file("page.css") + rules(shown.parts), _file("page.js")
    return Template(_file("page.html")).substitute(
        title=text(told.card.title),
        description=paragraphs(told.card.description),
        summary=summary(told),
        byline=byline(told),
        opening=opening(told),
        gallery=sections(shown),
        bytes=bar_and_table(told),
        results=results_table(told.card),
        card=card_list(told),
        version=text(__version__),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
    )


def _file(name: str) -> str:
    return (files("dsetpack.preview") / name).read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    """The hash of a text for a content security policy, which allows only this style and this script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()

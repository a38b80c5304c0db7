"""A pack at a glance: a labelled picture of its images, with one row per class, or one per source and its decoders."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dsetpack.cards import text
from dsetpack.cards.edit import address
from dsetpack.cards.facts import base_name
from dsetpack.formats.words import plural
from dsetpack.pack.pack import Pack
from dsetpack.preview.layout import LINE, Plan, plan
from dsetpack.preview.pixels import decoded, picture
from dsetpack.preview.rows import by_class, hard, plain, spread

PARTS = 8
MARGIN, GAP, NARROWEST = 16, 12, 480
INK, GREY = "#1a1a19", "#6b6a66"
TITLE, SMALL, LEADING, LINES = 18, 12, 6, 3
"""The sizes of the title and of everything else, the pixels between lines, and the most lines of a text."""
Line = tuple[str, int, str]
"""A text with its size and colour."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc")


@dataclass(frozen=True)
class Row:
    """One row: its class, its name, and the pairs of its images."""

    label: int
    name: str
    pair_ids: NDArray[np.int64]


def grid(pack: Pack, rows: int | None = None, columns: int | None = None) -> Image.Image:
    """Draw the pack: of plain images, one row per class; otherwise one row per source, with an image per decoder.

    Tiles are as large as they can be so that everything fits on about 1200×1700 pixels per part; if there is more than
    that, the text says how much is shown.

    Args:
        pack: any pack. For a generator, a row has the draws of a class.
        rows, columns: the largest numbers of rows, and of images of a row; by default all that fit.

    Returns:
        an RGB image; pixel values are mapped back from the pack's space and clipped to [0, 1].

    Raises:
        DsetpackError: if the pack keeps only the recipe of its ZCA.
    """
    parts = [_part(pack, number, rows, columns) for number in range(min(len(pack.parts), PARTS))]
    width = max(NARROWEST, *(drawn.width for _, drawn in parts))
    pieces = [_words(_heading(pack), width)]
    for said, drawn in parts:
        pieces += [*([_words([(said, SMALL, GREY)], width)] if said else []), drawn]
    left = len(pack.parts) - len(parts)
    more = [(f"{plural(left, 'more part')} not shown", SMALL, GREY)] if left else []
    return _stacked([*pieces, _words([*more, (_opening(pack), SMALL, GREY)], width)], width)


def _part(pack: Pack, number: int, most: int | None, columns: int | None) -> tuple[str, Image.Image]:
    """What is shown of a part, in words, and its rows."""
    part = pack.parts[number]
    every = _rows(pack, number)
    if most is not None:
        every = [every[n] for n in spread(np.array([row.label for row in every]), most)]
    lengths = [len(row.pair_ids[:columns]) for row in every]
    label = max(math.ceil(_font(row.name, SMALL).getlength(row.name)) for row in every)
    _, height, width = pack.card.shape
    made = plan(lengths, (width, height), label, whole=not plain(part))
    kept = spread(np.array([row.label for row in every]), made.rows)
    shown = [Row(every[n].label, every[n].name, every[n].pair_ids[: made.images]) for n in kept]
    return _told(pack, number, shown), _drawn(pack, made, shown)


def _rows(pack: Pack, number: int) -> list[Row]:
    part, labels = pack.parts[number], hard(pack.parts[number].labels)
    names = [text.line(name) for name in pack.card.classes]
    first = sum(sources * slots for sources, slots in pack.table.parts[:number])
    if plain(part):
        return [Row(int(labels[ids[0]]), names[labels[ids[0]]], first + ids) for ids in by_class(labels)]
    pair_ids = first + np.arange(len(labels) * part.slots).reshape(-1, part.slots)
    return [Row(int(labels[n]), f"{names[labels[n]]}  {n}", pair_ids[n]) for n in spread(labels, len(labels))]


def _told(pack: Pack, number: int, shown: list[Row]) -> str:
    """What is shown of a part, in words; nothing if that is every image of the pack, by class."""
    part, images = pack.parts[number], sum(len(row.pair_ids) for row in shown)
    named = f" ({part.name})" if part.name else ""
    where = f"Part {number}{named}: " if len(pack.parts) > 1 else ""
    if not plain(part):
        decoders = max(len(row.pair_ids) for row in shown)
        return f"{where}{_of(len(shown), len(part), 'source')}, with {_of(decoders, part.slots, 'decoder')} each"
    if images == len(part) and not where:
        return ""
    return f"{where}{_of(images, len(part), 'image')}, of {plural(len(shown), 'class')}"


def _of(shown: int, there: int, what: str) -> str:
    return plural(there, what) if shown == there else f"{shown:,} of {plural(there, what)}"


def _heading(pack: Pack) -> list[Line]:
    card = pack.card
    _, height, width = card.shape
    many, classes = plural(len(pack), "image"), plural(len(card.classes), "class")
    facts = [f"{many} of {height} by {width} pixels, {classes}", card.credit, card.license, address(card)]
    return [(card.title, TITLE, INK), ("  ·  ".join(fact for fact in facts if fact), SMALL, GREY)]


def _opening(pack: Pack) -> str:
    """How to open the pack."""
    name = base_name(pack.origin) if isinstance(pack.origin, str) else "FILE.dpk"
    return f"pip install dsetpack  ·  dsetpack.open({json.dumps(text.line(name), ensure_ascii=False)})"


def _drawn(pack: Pack, made: Plan, shown: list[Row]) -> Image.Image:
    """The rows with their labels."""
    canvas = Image.new("RGB", made.size, "white")
    draw, (width, height) = ImageDraw.Draw(canvas), made.tile
    images = decoded(pack, np.concatenate([row.pair_ids for row in shown]))
    for place, row in enumerate(shown):
        band, column = divmod(place, made.across)
        left, top = column * (made.cell + made.space), made.tops[band]
        if made.beside:
            name, right = _short(row.name, made.beside - 2 * made.gap, SMALL), left + made.beside - 2 * made.gap
            draw.text((right, top + height // 2), name, INK, _font(name, SMALL), anchor="rm")
        else:
            name = _short(row.name, made.cell, SMALL)
            draw.text((left, top + LINE - 5), name, INK, _font(name, SMALL), anchor="ls")
            top += LINE
        for number in range(len(row.pair_ids)):
            line, step = divmod(number, made.line)
            at = (left + made.beside + step * (width + made.gap), top + line * (height + made.gap))
            canvas.paste(_tile(next(images), made.tile), at)
    return canvas


def _tile(image: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Draw one image as an RGB tile."""
    drawn = picture(image).convert("RGB")
    larger = size[0] >= drawn.width
    return drawn.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS)


def _words(lines: list[Line], width: int) -> Image.Image:
    """Text, broken into lines of this width."""
    broken = [(piece, size, ink) for words, size, ink in lines for piece in _broken(text.line(words), size, width)]
    canvas = Image.new("RGB", (width, sum(size + LEADING for _, size, _ in broken)), "white")
    draw, top = ImageDraw.Draw(canvas), 0
    for piece, size, ink in broken:
        draw.text((0, top), piece, ink, _font(piece, size))
        top += size + LEADING
    return canvas


def _broken(words: str, size: int, width: int) -> Iterator[str]:
    """The lines of a text, at most ``LINES``; the last one ends in an ellipsis if there is more."""
    font, rest = _font(words, size), words.split(" ")
    for line in range(LINES):
        count = 1
        while count < len(rest) and font.getlength(" ".join(rest[: count + 1])) <= width:
            count += 1
        last = line == LINES - 1
        yield _short(" ".join(rest if last else rest[:count]), width, size)
        rest = rest[count:]
        if not rest:
            return


def _short(words: str, width: int, size: int) -> str:
    """The text, or as much of its start as fits with an ellipsis."""
    font = _font(words, size)
    if font.getlength(words) <= width:
        return words
    fits = bisect.bisect_left(range(1, len(words)), True, key=lambda n: font.getlength(f"{words[:n]}…") > width)
    return f"{words[:fits].rstrip()}…"


def _font(words: str, size: int) -> Font:
    """Pillow's own font, which has few letters beyond ASCII; for others one of the system, if there is one."""
    if not words.replace("·", "").replace("…", "").isascii():
        for name in FONTS:
            with suppress(OSError):
                return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _stacked(pieces: list[Image.Image], width: int) -> Image.Image:
    """The pieces below each other, with a margin around them."""
    height = sum(piece.height + GAP for piece in pieces) - GAP
    canvas, top = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), "white"), MARGIN
    for piece in pieces:
        canvas.paste(piece, (MARGIN, top))
        top += piece.height + GAP
    return canvas

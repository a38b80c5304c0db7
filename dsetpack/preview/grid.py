"""A pack at a glance: a labelled grid of decoded images, with one row per source and one column per decoder."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dsetpack.formats.words import plural
from dsetpack.pack.pack import Pack

ROWS, COLUMNS = 20, 12
TILE, GAP, LABEL_WIDTH, HEADER = 64, 4, 150, 40


def grid(pack: Pack, rows: int = ROWS, columns: int = COLUMNS) -> Image.Image:
    """Draw the pack: one row per source (spread evenly over the classes), and one column per decoder.

    Args:
        pack: any pack. For a generator, there is one row per class and one column per draw.
        rows, columns: the largest numbers of rows and columns.

    Returns:
        an RGB image; pixel values are mapped back from the pack's space and clipped to [0, 1].

    Raises:
        DsetpackError: if the pack keeps only the recipe of its ZCA.
    """
    labels = pack.labels if pack.labels.ndim == 1 else pack.labels.argmax(1)
    firsts, slots = _layout(pack, labels, rows)
    shown = min(slots, columns)
    numbers = (firsts[:, None] + np.arange(shown)).reshape(-1)
    with torch.no_grad():
        images = pack.space.invert(pack.decode(numbers)[0]).clamp(0, 1).cpu()
    names = [f"{pack.card.classes[int(labels[n])]}  {pack.table.locate([n])[1][0]}" for n in firsts]
    footer = f"{len(firsts)} of {plural(len(pack) // slots, 'source')}, {shown} of {plural(slots, 'decoder')}"
    return _draw(images, names, shown, f"{pack.card.title}: {footer}")


def _layout(pack: Pack, labels: Tensor, rows: int) -> tuple[NDArray[np.int64], int]:
    """The first pair of each source that is shown, and the number of pairs per source."""
    drawn = pack.parts[0].sources is None
    slots = (pack.card.per_class or 1) if drawn else pack.parts[0].slots
    count = len(pack) // slots if drawn else len(pack.parts[0])
    firsts = np.arange(count) * slots
    return firsts[spread(labels[torch.from_numpy(firsts)].numpy(), rows)], slots


def spread(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Choose at most ``count`` sources to show: evenly over the classes, in order of class."""
    order = np.argsort(labels, kind="stable")
    rank = np.empty_like(order)  # the position of a source inside its class
    rank[order] = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    chosen = np.lexsort((labels, rank))[:count]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def _draw(images: Tensor, names: list[str], columns: int, title: str) -> Image.Image:
    size = TILE + GAP
    canvas = Image.new("RGB", (LABEL_WIDTH + max(columns * size, 300) + GAP, HEADER + len(names) * size + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    draw.text((GAP, GAP), title, "black", font)
    for column in range(columns):
        draw.text((LABEL_WIDTH + column * size + TILE // 2, HEADER - 4), str(column), "gray", font, anchor="ms")
    for row, name in enumerate(names):
        top = HEADER + row * size
        draw.text((LABEL_WIDTH - 8, top + TILE // 2), name, "black", font, anchor="rm")
        for column in range(columns):
            canvas.paste(_tile(images[row * columns + column]), (LABEL_WIDTH + column * size, top))
    return canvas


def _tile(image: Tensor) -> Image.Image:
    """Draw one image [C, H, W] in [0, 1] as an RGB tile: of 1 or 2 channels the first as grey, else the first three."""
    pixels = (image * 255).round().byte().numpy()
    pixels = np.repeat(pixels[:1], 3, 0) if len(pixels) < 3 else pixels[:3]
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).resize(
        (TILE, TILE), Image.Resampling.NEAREST
    )

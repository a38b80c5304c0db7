"""Where the tiles of a picture go: the largest tiles with which all rows fit, and the best use of its width.

A row is a label and some tiles. Short rows stand side by side, long ones are broken into lines.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsetpack.preview.rows import fitted

WIDTH, HEIGHT = 1200, 1720
"""The space for the rows of one part, in pixels."""
ASPECT, STRIP = 1.4, 2.5
"""The best ratio of width to height, and the largest that rows of one line may have."""
TILES = (112, 96, 80, 64, 48, 40, 32, 28)
"""The sides of shrunk tiles; the first is also that of the largest enlarged ones."""
LABEL, NAME, LINE = 150, 84, 18
"""The widest label beside its row, the least width of one above its row, and the height of its line, in pixels."""


@dataclass(frozen=True)
class Plan:
    """How rows are drawn.

    Attributes:
        tile: width and height of a tile.
        gap: pixels between tiles.
        rows, images: how many rows are drawn, and of a row at most how many images.
        line: tiles per line of a row.
        across: rows side by side.
        beside: the width of a label on the left of its row; 0 if labels stand above.
        cell: the width of a row with its label.
        tops: the upper edge of each band of rows that stand side by side, and the lower edge of the last.
    """

    tile: tuple[int, int]
    gap: int
    rows: int
    images: int
    line: int
    across: int
    beside: int
    cell: int
    tops: tuple[int, ...]

    @property
    def space(self) -> int:
        """Pixels between rows side by side: single tiles are a grid, longer rows keep their distance."""
        return 3 * self.gap if self.line == 1 else 6 * self.gap

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all rows."""
        return self.across * (self.cell + self.space) - self.space, self.tops[-1]


def plan(lengths: Sequence[int], image: tuple[int, int], label: int, *, whole: bool = False) -> Plan:
    """Choose tiles and places: the largest tiles with which every row is one line, or else with which everything fits.

    If not everything fits even with the smallest tiles, long rows lose images, and if that is not enough, rows are left
    out.

    Args:
        lengths: the number of images of each row, at least one row.
        image: width and height of an image.
        label: the width of the longest label.
        whole: leave out rows before images of rows.
    """
    rows, sizes = np.asarray(lengths), list(tiles(*image))
    for tile in sizes:
        if found := _best(rows, tile, label, straight=True):
            strip = found.size[0] > STRIP * found.size[1]
            return (_best(rows, tile, label) or found) if strip else found
    for tile in sizes:
        if found := _best(rows, tile, label):
            return found
    if whole and (count := _most(len(rows), lambda n: _best(rows[:n], sizes[-1], label))):
        rows = rows[:count]
    else:
        longest = _most(int(rows.max()), lambda n: _best(np.minimum(rows, n), sizes[-1], label))
        rows = np.minimum(rows, max(1, longest))
        rows = rows[: max(1, _most(len(rows), lambda n: _best(rows[:n], sizes[-1], label)))]
    last = _best(rows, sizes[-1], label, height=math.inf)
    assert last is not None
    return last


def tiles(width: int, height: int) -> Iterator[tuple[int, int]]:
    """The sizes of tiles of an image, the largest first: whole multiples of small images, and shrunk large ones."""
    side = math.sqrt(width * height)
    for times in range(int(TILES[0] // side), 0, -1):
        if times * side >= TILES[-1] or times == 1:
            yield times * width, times * height
    if side > TILES[0]:
        yield fitted(width, height, 2 * TILES[0])
    for smaller in (smaller for smaller in TILES if smaller < side):
        yield fitted(width, height, smaller)


def _most(count: int, fits: Callable[[int], Plan | None]) -> int:
    """The largest number up to ``count`` that fits, if smaller ones do; 0 if none does."""
    return bisect.bisect_left(range(1, count + 1), True, key=lambda n: fits(n) is None)


def _best(
    rows: NDArray[np.int64], tile: tuple[int, int], label: int, *, height: float = HEIGHT, straight: bool = False
) -> Plan | None:
    """The arrangement with these tiles that is closest to what one wishes for; None if none fits.

    With ``straight``, every row is one line.
    """
    every = (made for made in _arrangements(rows, tile, label, straight) if made.size[1] <= height)
    return min(every, key=lambda made: _score(made, int(rows.sum())), default=None)


def _arrangements(rows: NDArray[np.int64], tile: tuple[int, int], label: int, straight: bool) -> Iterator[Plan]:
    gap, longest = (2 if min(tile) < TILES[4] else 4), int(rows.max())
    step = tile[0] + gap
    for line in dict.fromkeys(-(-longest // lines) for lines in range(1, 2 if straight else longest + 1)):
        for beside in (min(label, LABEL) + 2 * gap, 0) if line > 2 else (0,):
            cell = max(beside + line * step - gap, 0 if beside else min(label, NAME))
            for across in range(1, len(rows) + 1):
                tops = _tops(rows, tile[1] + gap, line, across, 0 if beside else LINE)
                made = Plan(tile, gap, len(rows), longest, line, across, beside, cell, tops)
                if made.size[0] > WIDTH:
                    break
                yield made


def _tops(rows: NDArray[np.int64], step: int, line: int, across: int, above: int) -> tuple[int, ...]:
    """The edges of the bands; each is as high as its longest row, and the last has no gap below."""
    lines = np.pad(-(-rows // line), (0, -len(rows) % across)).reshape(-1, across).max(1)
    return (0, *np.cumsum(lines * step + above).tolist())


def _score(made: Plan, images: int) -> float:
    """How far an arrangement is from what one wishes for: a wide picture without blanks, and rows of one line."""
    width, height = made.size
    shape = abs(math.log(width / height / ASPECT))
    blank = 1 - images * made.tile[0] * made.tile[1] / (width * height)
    lines, bands = -(-made.images // made.line), len(made.tops) - 1
    ragged = (lines * made.line - made.images) / made.images + (bands * made.across - made.rows) / made.rows
    return shape + 2 * blank + ragged + 0.3 * math.log(lines)

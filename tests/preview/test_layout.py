"""The places of tiles: everything fits, nothing overlaps, and the width is used."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dsetpack.preview.layout import HEIGHT, LINE, STRIP, WIDTH, plan, tiles

CASES = {
    "1 image": ([1], (28, 28)),
    "10 × 1": ([1] * 10, (28, 28)),
    "10 × 10": ([10] * 10, (32, 32)),
    "10 × 50": ([50] * 10, (28, 28)),
    "1 × 10": ([10], (32, 32)),
    "1 × 100": ([100], (32, 32)),
    "100 × 1": ([1] * 100, (32, 32)),
    "100 × 10": ([10] * 100, (32, 32)),
    "200 × 1": ([1] * 200, (64, 64)),
    "10 large": ([1] * 10, (224, 224)),
    "wide": ([6] * 5, (256, 32)),
    "tall": ([6] * 5, (32, 256)),
    "uneven": ([40, 3, 12, 5], (32, 32)),
    "pixels": ([1] * 4, (1, 1)),
    "sources": ([4] * 70, (28, 28)),
}


def places(made, lengths):
    """The rectangles of all tiles, each with its row."""
    (width, height), found = made.tile, []
    for place, length in enumerate(lengths):
        band, column = divmod(place, made.across)
        left = column * (made.cell + made.space) + made.beside
        top = made.tops[band] + (0 if made.beside else LINE)
        for number in range(length):
            line, step = divmod(number, made.line)
            x, y = left + step * (width + made.gap), top + line * (height + made.gap)
            found.append((x, y, x + width, y + height))
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_tile_has_its_place(name):
    lengths, image = CASES[name]
    made = plan(lengths, image, 70)
    assert (made.rows, made.images) == (len(lengths), max(lengths))
    assert made.size[0] <= WIDTH
    assert made.size[1] <= HEIGHT
    found = places(made, lengths)
    assert len(set(found)) == len(found) == sum(lengths)
    for x, y, right, bottom in found:
        assert min(x, y) >= 0
        assert right <= made.size[0]
        assert bottom <= made.size[1]
    xs, ys = sorted({box[0] for box in found}), sorted({box[1] for box in found})
    assert all(b - a >= made.tile[0] for a, b in pairwise(xs))
    assert all(b - a >= made.tile[1] for a, b in pairwise(ys))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("wide", "tall")])
def test_no_picture_is_a_strip(name):
    lengths, image = CASES[name]
    width, height = plan(lengths, image, 70).size
    assert 1 / STRIP <= width / height <= STRIP


@pytest.mark.parametrize(
    ("name", "tile", "line", "across"),
    [
        ("10 × 1", 112, 1, 5),
        ("10 × 10", 96, 10, 1),
        ("10 × 50", 28, 25, 1),
        ("1 × 10", 96, 5, 1),
        ("100 × 1", 96, 1, 10),
        ("100 × 10", 32, 10, 2),
        ("10 large", 224, 1, 5),
        ("sources", 56, 4, 4),
    ],
)
def test_usual_packs(name, tile, line, across):
    made = plan(*CASES[name], 70)
    assert (made.tile[0], made.line, made.across) == (tile, line, across)


def test_labels_stand_beside_long_rows_and_above_single_images():
    assert plan([10] * 10, (32, 32), 70).beside > 70
    assert plan([1] * 10, (32, 32), 70).beside == 0
    assert plan([10] * 10, (32, 32), 5000).beside < 170


def test_what_does_not_fit_is_left_out_evenly():
    made = plan([50] * 100, (32, 32), 70)
    assert made.rows == 100
    assert 5 < made.images < 50
    assert plan([1] * 5000, (64, 64), 70).images == 1
    assert 500 < plan([1] * 5000, (64, 64), 70).rows < 5000
    sources = plan([5] * 5000, (64, 64), 70, whole=True)
    assert sources.images == 5
    assert 100 < sources.rows < 5000
    endless = plan([100_000], (28, 28), 70, whole=True)
    assert endless.rows == 1
    assert endless.size[1] <= HEIGHT


@pytest.mark.parametrize("image", [(28, 28), (32, 32), (8, 8), (64, 64), (224, 224), (256, 32), (1, 1), (20, 5000)])
def test_small_images_are_enlarged_by_whole_numbers_only(image):
    sizes = list(tiles(*image))
    assert sizes
    areas = [width * height for width, height in sizes]
    assert areas == sorted(areas, reverse=True)
    for width, height in sizes:
        if width > image[0]:
            assert width % image[0] == height % image[1] == 0
            assert width // image[0] == height // image[1]
        assert max(width, height) <= WIDTH

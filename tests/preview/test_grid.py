"""The picture of ``dsetpack preview``: which images it has, where, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.kinds import kind_config
from dsetpack.preview import grid as module
from dsetpack.preview.grid import grid
from tests.support.paths import KFS
from tests.support.preview_packs import evil, generator, large


def flat(greys, labels, classes, **card):
    """A pack whose images have one grey value each."""
    images = torch.tensor(greys).view(-1, 1, 1, 1).expand(-1, 1, 28, 28) / 255
    return Pack.from_arrays(images.contiguous(), labels, classes=classes, **card)


def seen(image):
    """The one-coloured tiles from left to right and top to bottom: their grey values."""
    pixels = np.asarray(image.convert("L")).astype(int)
    inner = np.lib.stride_tricks.sliding_window_view(pixels, (20, 20))[::8, ::8]
    same = (inner == inner[..., :1, :1]).all((2, 3)) & (inner[..., 0, 0] < 250)
    found: list[int] = []
    for row in np.flatnonzero(same.any(1)):
        line = [int(inner[row, column, 0, 0]) for column in np.flatnonzero(same[row])]
        found += [value for value in dict.fromkeys(line) if value not in found]
    return found


@pytest.fixture
def words(monkeypatch):
    """All that a picture says."""
    said: list[str] = []
    kept = module._words

    def listen(lines, width):
        said.extend(words for words, _, _ in lines)
        return kept(lines, width)

    monkeypatch.setattr(module, "_words", listen)
    return said


def test_plain_images_are_in_one_row_per_class(words):
    greys, labels = [10, 20, 30, 40, 50, 60, 70, 80, 90], [1, 0, 1, 0, 1, 0, 0, 1, 3]
    pack = flat(greys, labels, ["a", "b", "c", "d"], title="t", license="MIT", credit="Ada")
    assert seen(grid(pack)) == [20, 40, 60, 70, 10, 30, 50, 80, 90]
    assert words == [
        "t",
        "9 images of 28 by 28 pixels, 4 classes  ·  Ada  ·  MIT",
        'pip install dsetpack  ·  dsetpack.open("FILE.dpk")',
    ]
    assert seen(grid(pack, rows=2, columns=3)) == [20, 40, 60, 10, 30, 50]
    assert words[-2] == "6 of 9 images, of 2 classes"


def test_a_pack_of_ten_images_is_no_strip():
    greys = [10 * (n + 1) for n in range(10)]
    image = grid(flat(greys, list(range(10)), 10))
    assert seen(image) == greys
    assert image.width / image.height < 2


def test_the_name_of_the_file_is_in_it(words):
    grid(dsetpack.open(KFS))
    assert f'pip install dsetpack  ·  dsetpack.open("{KFS.name}")' in words
    assert "70 sources, with 4 decoders each" in words


def test_sources_keep_their_decoders_together():
    pack = dsetpack.open(KFS)
    made = grid(pack, rows=1)
    tiles = pack.space.invert(pack.decode(range(4))[0]).detach().clamp(0, 1).numpy()
    pixels = np.asarray(made.convert("L"))
    for tile in (np.round(tiles[:, 0] * 255)).astype(np.uint8):
        big = tile.repeat(4, 0).repeat(4, 1)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, big.shape)
        assert (windows[:, :, ::9, ::9] == big[::9, ::9]).all((2, 3)).any()


def test_a_generator_has_a_row_of_draws_per_class(words):
    config = kind_config("generator")(width=8)
    card = Card(title="g", classes=("a", "b", "c"), shape=(1, 28, 28), per_class=4)
    bank = decoder("generator", config, card.shape, 3).eval()
    pack = Pack(card, [Part("generator", config, bank, None, torch.arange(3).repeat_interleave(4))])
    assert grid(pack).size == grid(flat([9] * 12, [0] * 4 + [1] * 4 + [2] * 4, ["a", "b", "c"])).size
    assert words[1] == "12 images of 28 by 28 pixels, 3 classes"
    grid(dsetpack.open(generator()), columns=2)
    assert "6 of 12 images, of 3 classes" in words


def test_every_part_is_there(words):
    grid(dsetpack.open(evil()))
    assert [said.split(":")[0].split(" ")[:2] for said in words[2:5]] == [["Part", str(n)] for n in range(3)]
    assert "Part 1: 5 sources, with 2 decoders each" in words
    merged = Pack.merge(*[flat([50], [0], ["a"])] * 10)
    grid(merged)
    assert "2 more parts not shown" in words


def test_long_and_strange_words_do_not_break_it():
    name = "Pneumonoultramicroscopicsilicovolcanoconiosis \x1b[31m\u202e 猫 " * 40
    for classes in (1, 30):
        pack = flat([50] * 40, [n % classes for n in range(40)], [f"{name}{n}" for n in range(classes)], title=name)
        assert max(grid(pack).size) < 1700
    assert grid(flat([50], [0], [""], title="")).width > 400


def test_images_of_any_size_and_number_of_channels():
    assert grid(dsetpack.open(large())).width > 3 * 183
    assert grid(Pack.from_arrays(torch.rand(4, 2, 1, 1), [0, 1, 2, 3])).width < 700
    assert grid(Pack.from_arrays(torch.rand(3, 3, 32, 256), [0, 1, 2])).width > 256
    assert max(grid(Pack.from_arrays(torch.rand(2, 1, 4, 3000), [0, 1])).size) < 1700


def test_nan_is_black():
    values = torch.full((1, 1, 28, 28), torch.nan)
    pack = Pack.from_arrays(torch.rand(1, 1, 28, 28), [0], finite=False)
    pack.parts[0].sources.copy_(values)
    assert seen(grid(pack)) == [0]

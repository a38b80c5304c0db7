"""Pixels of image files."""

import numpy as np
import pytest
from PIL import Image

from dsetpack.files.pixels import stacked
from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits


def save(path, array):
    Image.fromarray(array).save(path)
    return path


def test_grey_images_have_one_channel_unless_one_is_in_colour(tmp_path):
    grey = save(tmp_path / "a.png", np.arange(20, dtype=np.uint8).reshape(4, 5))
    colour = save(tmp_path / "b.png", np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    assert np.array_equal(stacked([grey])[0, 0].ravel(), np.arange(20))
    both = stacked([grey, colour])
    assert both.shape == (2, 3, 4, 5)
    assert np.array_equal(both[0], np.repeat(stacked([grey])[0], 3, axis=0))
    assert np.array_equal(both[1].transpose(1, 2, 0).ravel(), np.arange(60))
    assert stacked([grey], "RGB").shape == (1, 3, 4, 5)


def test_what_is_no_image_of_the_size_is_refused(tmp_path):
    first = save(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(FormatError, match=r"b.png is 5×4 and a.png is 4×5 \(height × width\)"):
        stacked([first, save(tmp_path / "b.png", np.zeros((5, 4), np.uint8))])
    with pytest.raises(FormatError, match=r"^\S*deep.png: pixels of mode I(;16)? found; 8 bits per channel expected"):
        stacked([save(tmp_path / "deep.png", np.full((4, 5), 400, np.uint16))])
    (tmp_path / "c.png").write_bytes(first.read_bytes()[:-20])
    (tmp_path / "d.png").write_bytes(b"no image")
    for name in ("c.png", "d.png"):
        with pytest.raises(FormatError, match=f"{name}: not a sound image file"):
            stacked([first, tmp_path / name])
    with pytest.raises(FormatError, match=r"gone.png: no such file"):
        stacked([tmp_path / "gone.png"])


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    file = save(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    assert stacked([file] * 3, limits=Limits(total=240)).shape == (3, 1, 4, 5)
    with pytest.raises(LimitError, match="images of 320 bytes; at most 240"):
        stacked([file] * 4, limits=Limits(total=240))

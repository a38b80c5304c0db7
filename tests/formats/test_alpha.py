"""Alpha channels: dropped when said, or when they say nothing."""

import warnings

import numpy as np
import pytest
from PIL import Image

from dsetpack.formats.alpha import PictureAlpha, without_alpha
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice


def picture(mode: str, alpha: int) -> Image.Image:
    """A grey or red picture whose first pixel has this opacity, in any mode that can hold it."""
    pixels = np.full((4, 4, 4), (200, 0, 0, 255), np.uint8)
    pixels[0, 0, 3] = alpha
    whole = Image.fromarray(pixels)
    if mode == "P":
        found = whole.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
        found.info["transparency"] = bytes([alpha, alpha])
        return found
    if mode in ("L", "RGB"):  # one colour is transparent, as a PNG can say
        found = whole.convert("RGB").convert(mode)
        found.info["transparency"] = found.getpixel((0, 0)) if alpha < 255 else (1 if mode == "L" else (1, 2, 3))
        return found
    return whole.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "PA", "RGBa"])
def test_transparent_pixels_need_a_word_and_opaque_channels_none(mode):
    with pytest.raises(FormatError, match=rf"a\.png: transparent pixels \(mode {mode}\); pass drop_alpha=True"):
        PictureAlpha(drop=False).check(picture(mode, 254), "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = PictureAlpha(drop=True)
        said.check(picture(mode, 0), "a.png")
        said.say()
    opaque = PictureAlpha(drop=False)
    for _ in range(3):
        opaque.check(picture(mode, 255), "a.png")
    with pytest.warns(Notice, match="opaque everywhere: 3"):
        opaque.say()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK"])
def test_pictures_without_alpha_say_nothing(mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        none = PictureAlpha(drop=False)
        none.check(Image.new(mode, (4, 4)), "a.png")
        none.say()


@pytest.mark.parametrize(("channels", "left"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5)])
def test_the_last_of_two_or_four_channels_of_an_array(channels, left):
    images = np.arange(2 * channels).reshape(2, channels, 1, 1)
    assert np.array_equal(without_alpha(images, drop=True, pictures=True), images[:, :left])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert without_alpha(images, drop=False, pictures=False) is images
        assert not caught
        assert without_alpha(images, drop=False, pictures=True) is images
    assert [str(one.message).partition(";")[0] for one in caught] == (
        [] if left == channels else [f"all {channels} channels are kept"]
    )

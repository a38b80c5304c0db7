"""Ranges: pixels in 0..255 are found in any guise, and everything learned passes."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from dsetpack import Normalized, NormalizedSpace, Raw, Zca
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.spaces.ranges import check_range
from dsetpack.trainers.data import load

REAL = load("fashion-sample").images[:200].float()
"""Real pixels in 0..255."""
SPACE = Normalized(NormalizedSpace(mean=(0.2861,), std=(0.3530,)))
DARK = (REAL * 80 / 255).round()
DARK_MEANS = DARK.view(20, 10, *REAL.shape[1:]).mean(1)
GUISES = {
    "as they are": REAL,
    "a dark set": DARK,
    "a dark set, averaged": DARK_MEANS,
    "a very dark set, averaged": DARK_MEANS / 2,
    "averaged": REAL.view(20, 10, *REAL.shape[1:]).mean(1),
    "resized, with overshoot": F.interpolate(REAL, size=(40, 40), mode="bicubic"),
    "brightened": REAL * 1.2 + 3.3,
    "nearly black": torch.where(REAL > 250, REAL, 0.0)[:10],
    "16 bits": REAL * 257,
}


@pytest.mark.parametrize("guise", GUISES)
@pytest.mark.parametrize("declared", [True, False])
def test_pixels_that_nobody_divided_are_refused(guise, declared):
    with pytest.raises(FormatError, match="look like pixels in 0..255; raw ones .* divide them by 255, or .* uint8"):
        check_range(GUISES[guise], Raw(), declared=declared)
    with pytest.raises(FormatError, match="look like pixels in 0..255; divide them by 255, then map them into"):
        check_range(GUISES[guise], SPACE)
    with pytest.raises(FormatError, match="look like pixels in 0..255; divide"):
        check_range(SPACE.apply(GUISES[guise]), SPACE)


def test_a_space_for_pixels_in_0_to_255_is_named_as_the_fault():
    wide = Normalized(NormalizedSpace(mean=(73.0,), std=(90.0,)))
    with pytest.raises(FormatError, match=r"mean and std are for such pixels: divide both by 255 \(std is 90\)"):
        check_range((REAL - 73) / 90, wide)
    unusual = Normalized(NormalizedSpace(mean=(0.0,), std=(1 / 255,)))
    check_range(unusual.apply(REAL / 255), unusual)  # its values are 0..255, and rightly


def test_whitened_images_are_no_pixels():
    zca = Zca.fit(REAL[:, :, ::4, ::4] / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_range(zca.apply(REAL[:, :, ::4, ::4] / 255), zca)
    with pytest.raises(FormatError, match="0..255; divide them by 255, then map them into the zca space"):
        check_range(REAL[:, :, ::4, ::4], zca)


def test_real_images_and_nearly_real_ones_pass_without_a_word():
    noisy = REAL / 255 + 0.1 * torch.randn(REAL.shape, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for raw in (REAL / 255, noisy, (REAL > 99).float(), torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)):
            check_range(raw, Raw())
            check_range(raw, Raw(), declared=False)
            check_range(SPACE.apply(raw), SPACE)


def learned(low: float, high: float) -> torch.Tensor:
    """Real images and a few pixels that ran away, as in released sets."""
    raw = REAL[:10] / 255
    raw[0, 0, 0, :2] = torch.tensor([low, high])
    return raw


@pytest.mark.parametrize(("low", "high"), [(-25.8, 35.5), (-2.8, 3.7), (0, 35.5), (-1, 1)])
def test_learned_values_of_any_range_are_kept_and_said(low, high):
    with pytest.warns(Notice, match=f"values from {low:g} to {high:g} are kept as raw"):
        check_range(learned(low, high), Raw())
    with pytest.warns(Notice, match=f"kept as normalized, as raw pixels from {low:g} to {high:g};"):
        check_range(SPACE.apply(learned(low, high)), SPACE)


def test_the_inverse_of_a_zca_is_raw():
    zca = Zca.fit(REAL[:, :, ::4, ::4] / 255)
    images = zca.invert(2 * torch.randn(10, 1, 7, 7, generator=torch.Generator().manual_seed(0)))
    with pytest.warns(Notice, match="kept as raw"):
        check_range(images, Raw())


@pytest.mark.parametrize("images", [SPACE.apply(REAL / 255), REAL / 127.5 - 1, learned(-25.8, 35.5)])
def test_an_undeclared_space_is_asked_for(images):
    with pytest.raises(FormatError, match=r"raw pixels are in \[0, 1\]; pass the space .* or space=Raw\(\)"):
        check_range(images, Raw(), declared=False)


def test_values_that_are_not_finite_show_nothing():
    for value in (torch.nan, torch.inf, -torch.inf):
        check_range(torch.full((2, 1, 4, 4), value), Raw(), declared=False)


def test_channels_that_differ_from_the_space():
    with pytest.raises(FormatError, match="3 channels; the space has 1"):
        check_range(torch.zeros(2, 3, 4, 4), SPACE)

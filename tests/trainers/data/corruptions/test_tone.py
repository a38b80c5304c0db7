"""Brightness, saturation, contrast and fog."""

import pytest
import torch

from dsetpack.trainers.data import ImageData
from dsetpack.trainers.data.corrupt import CORRUPTIONS, LEVELS, corrupted
from dsetpack.trainers.data.corruptions.base import Draws
from dsetpack.trainers.data.corruptions.tone import plasma
from tests.support.corruption_cases import apply, flat, noisy, smooth


@pytest.mark.parametrize("level", LEVELS)
def test_brightness_adds_to_the_mean_of_grey_images(level):
    data = ImageData(smooth(4, (1, 28, 28)) * 0.5, torch.arange(4) % 2, ("a", "b"), "dark")
    added = CORRUPTIONS["brightness"].levels[level - 1][0]
    change = corrupted(data, "brightness", level).images.mean() - data.images.mean()
    assert float(change) == pytest.approx(added, abs=1e-6)


def test_brightness_and_saturation_are_those_of_hsv():
    """Against colorsys, pixel by pixel."""
    import colorsys

    x = noisy(1, (3, 6, 6)).raw()

    def through(change):
        made = torch.empty_like(x)
        for row in range(6):
            for column in range(6):
                hue, saturation, value = colorsys.rgb_to_hsv(*x[0, :, row, column].tolist())
                made[0, :, row, column] = torch.tensor(colorsys.hsv_to_rgb(*change(hue, saturation, value)))
        return made

    brighter = through(lambda h, s, v: (h, s, min(1, v + 0.2)))
    assert torch.allclose(apply("brightness", x, 0.2), brighter, atol=1e-5)
    for a, b in CORRUPTIONS["saturate"].levels:
        expected = through(lambda h, s, v, a=a, b=b: (h, min(1, a * s + b), v))
        assert torch.allclose(apply("saturate", x, a, b), expected, atol=1e-5)


def test_saturate_leaves_grey_pixels_grey():
    x = noisy(2, (1, 8, 8)).raw().expand(2, 3, 8, 8)
    assert torch.equal(apply("saturate", x, 2.5, 0.2), x)


@pytest.mark.parametrize("level", LEVELS)
def test_contrast_has_its_fixed_point_at_the_mean(level):
    x = noisy().raw()
    factor = CORRUPTIONS["contrast"].levels[level - 1][0]
    made = apply("contrast", x, factor)
    assert torch.allclose(made.mean((2, 3)), x.mean((2, 3)), atol=1e-6)
    assert torch.allclose(made.std((2, 3)), factor * x.std((2, 3)), atol=1e-6)
    assert torch.allclose(corrupted(flat(0.3), "contrast", level).images, flat(0.3).images)


def test_fog_over_black_and_white():
    strength = 1.5
    assert not apply("fog", torch.zeros(2, 1, 16, 16), strength, 1.75).gt(1e-6).any()
    white = apply("fog", torch.ones(2, 1, 16, 16), strength, 1.75)
    assert float(white.amax()) == pytest.approx(1)
    assert float(white.amin()) == pytest.approx(1 / (1 + strength))


def test_clouds_fill_their_range_and_get_rougher_with_a_slower_decay():
    smooth_cloud, rough = (plasma(Draws(0, "fog", range(16)), 32, decay) for decay in (3.0, 1.75))
    for cloud in (smooth_cloud, rough):
        assert cloud.shape == (16, 32, 32)
        assert torch.equal(cloud.amin((1, 2)), torch.zeros(16))
        assert torch.equal(cloud.amax((1, 2)), torch.ones(16))
    steps = [float((cloud - cloud.roll(1, 1)).square().mean()) for cloud in (smooth_cloud, rough)]
    assert steps[1] > 1.5 * steps[0]

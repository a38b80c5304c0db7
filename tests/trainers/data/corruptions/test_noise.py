"""Noise: means, variances, shares."""

import math

import pytest

from dsetpack.trainers.data.corrupt import CORRUPTIONS, LEVELS, corrupted
from tests.support.corruption_cases import apply, flat


# Mean and variance in closed form; the bounds are six standard errors.
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("gaussian_noise", lambda c: c**2),
        ("shot_noise", lambda c: 0.5 / c),
        ("speckle_noise", lambda c: (0.5 * c) ** 2),
        ("impulse_noise", lambda c: c * 0.25),  # to 0 or 1, both 0.5 away
    ],
)
def test_noise_has_its_mean_and_variance(name, variance, level):
    x = flat(0.5, 16).images
    made = apply(name, x, *CORRUPTIONS[name].levels[level - 1]) - 0.5
    expected, count = variance(CORRUPTIONS[name].levels[level - 1][0]), made.numel()
    fourth = float((made**4).mean())
    assert abs(float(made.mean())) < 6 * math.sqrt(expected / count)
    assert abs(float(made.var()) - expected) < 6 * math.sqrt((fourth - expected**2) / count)


def test_impulse_noise_hits_a_share_of_the_values_with_salt_and_pepper():
    made = apply("impulse_noise", flat(0.5, 16).images, 0.07)
    count = made.numel()
    for value in (0.0, 1.0):
        share = float((made == value).float().mean())
        assert abs(share - 0.035) < 6 * math.sqrt(0.035 / count)
    assert set(made.unique().tolist()) == {0.0, 0.5, 1.0}


def test_speckle_and_shot_noise_leave_black_alone():
    for name in ("speckle_noise", "shot_noise"):
        assert not corrupted(flat(0.0), name, 5).images.any()

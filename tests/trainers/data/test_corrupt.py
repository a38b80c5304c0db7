"""Corrupted test sets: limits, levels, determinism, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.data.corrupt import CORRUPTIONS, LEVELS, corrupted
from tests.support.corruption_cases import GREY, apply, flat, noisy, smooth

NOTHING = {
    "gaussian_noise": (0,),
    "impulse_noise": (0,),
    "speckle_noise": (0,),
    "gaussian_blur": (0,),
    "defocus_blur": (0,),
    "motion_blur": (0,),
    "zoom_blur": (0,),
    "fog": (0, 2),
    "brightness": (0,),
    "contrast": (1,),
    "saturate": (1, 0),
    "elastic_transform": (0, 0, 0),
    "pixelate": (1,),
}


@pytest.mark.parametrize("name", NOTHING)
def test_no_strength_is_no_change(name):
    x = noisy().raw()
    assert torch.allclose(apply(name, x, *NOTHING[name]), x, atol=1e-5)


def test_the_limits_that_are_not_exact():
    x = smooth()
    assert float((apply("shot_noise", x, 1e7) - x).abs().max()) < 2e-3
    assert float((apply("jpeg_compression", x, 100) - x).abs().mean()) < 0.02


ORDERED = [name for name in GREY if name not in ("elastic_transform", "pixelate")]
"""Corruptions that change pixels more at each level. The docstrings say why elastic_transform and saturate do not;
pixelate's 26 and 25 of 28 pixels fall differently on the image."""


@pytest.mark.parametrize("name", ORDERED)
def test_damage_grows_with_the_level(name):
    data = load("fashion-sample", split="test")
    data = data.take(data.draw(10, 0))
    damage = [float((corrupted(data, name, level).raw() - data.raw()).square().mean()) for level in LEVELS]
    assert damage == sorted(damage)
    assert damage[0] > 0
    assert damage[4] > 1.5 * damage[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_dtype_labels_and_range_stay_and_the_name_tells(name, dtype):
    data = noisy(3, dtype=dtype)
    made = corrupted(data, name, 5)
    assert made.images.dtype == dtype
    assert made.images.shape == data.images.shape
    assert torch.equal(made.labels, data.labels)
    assert (made.classes, made.name) == (data.classes, f"noisy:{name}:5")
    assert made.digest != data.digest


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_depends_on_its_index_and_not_on_its_neighbours(name):
    data = noisy(5, dtype=torch.float32)
    whole = corrupted(data, name, 4)
    assert torch.equal(corrupted(data, name, 4).images, whole.images)
    assert torch.allclose(corrupted(data.take(torch.arange(2)), name, 4).images, whole.images[:2], atol=1e-6)


def test_batches_do_not_show(monkeypatch):
    data = noisy(7, dtype=torch.float32)
    whole = corrupted(data, "gaussian_noise", 2)
    monkeypatch.setattr("dsetpack.trainers.data.corrupt._AT_ONCE", 3)
    assert torch.equal(corrupted(data, "gaussian_noise", 2).images, whole.images)


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "shot_noise", "motion_blur", "fog"])
def test_seeds_and_images_have_their_own_randomness(name):
    data = ImageData(smooth(1).expand(2, 3, 32, 32).contiguous(), torch.zeros(2, dtype=torch.int64), ("a",), "twice")
    made, other = corrupted(data, name, 3), corrupted(data, name, 3, seed=1)
    assert not torch.equal(made.images[0], made.images[1])
    assert not torch.equal(made.images, other.images)
    assert other.name == f"twice:{name}:3:seed=1"


def test_levels_share_their_random_numbers():
    """Gaussian noise at two levels is the same noise, scaled."""
    x = flat(0.5).images
    one, two = (apply("gaussian_noise", x, sigma) - 0.5 for sigma in (0.04, 0.1))
    assert torch.allclose(two, 2.5 * one, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(GREY)),
    level=st.sampled_from(LEVELS),
    height=st.integers(2, 40),
    width=st.integers(2, 40),
)
def test_any_size(name, level, height, width):
    made = corrupted(noisy(2, (1, height, width)), name, level)
    assert made.shape == (1, height, width)


def test_the_table_is_what_it_says():
    assert len(CORRUPTIONS) == 15
    assert all(len(made.levels) == 5 and len(set(made.levels)) == 5 for made in CORRUPTIONS.values())


def test_refusals():
    with pytest.raises(FormatError, match=r"no corruption 'gausian_noise'.*did you mean 'gaussian_noise'"):
        corrupted(noisy(), "gausian_noise", 1)
    for level in (0, 6, -1, 1.5):
        with pytest.raises(FormatError, match=r"corruption level .* expected an integer from 1 to 5"):
            corrupted(noisy(), "contrast", level)
    with pytest.raises(FormatError, match="noisy has images of 1 channel; saturate is defined for 3"):
        corrupted(noisy(shape=(1, 8, 8)), "saturate", 1)
    with pytest.raises(FormatError, match="4 channels; jpeg_compression is defined for 1 or 3"):
        corrupted(noisy(shape=(4, 8, 8)), "jpeg_compression", 1)

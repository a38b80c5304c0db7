"""Corrupted test sets: closed forms, limits, levels, determinism, and what is refused."""

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.data.corrupt import CORRUPTIONS, LEVELS, corrupted
from dsetpack.trainers.data.corruptions.base import Draws, blurred
from dsetpack.trainers.data.corruptions.blur import disk
from dsetpack.trainers.data.corruptions.resampling import areas
from dsetpack.trainers.data.corruptions.tone import plasma

GREY = [name for name, made in CORRUPTIONS.items() if made.channels is None or 1 in made.channels]


def flat(value: float, count: int = 8, shape=(3, 32, 32)) -> ImageData:
    x = torch.full((count, *shape), value)
    return ImageData(x, torch.zeros(count, dtype=torch.int64), ("only",), "flat")


def noisy(count: int = 4, shape=(3, 32, 32), seed: int = 0, dtype=torch.uint8) -> ImageData:
    x = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    x = x if dtype == torch.uint8 else x.float() / 255
    return ImageData(x, torch.arange(count) % 2, ("a", "b"), "noisy")


def smooth(count: int = 4, shape=(3, 32, 32)) -> torch.Tensor:
    return blurred(noisy(count, shape).raw(), 2.0)


def apply(name: str, x: torch.Tensor, *values: float) -> torch.Tensor:
    return CORRUPTIONS[name].apply(x, values, Draws(0, name, range(len(x))))


# ---- noise: mean and variance in closed form; the bounds are six standard errors


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


# ---- blur


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 33)])
def test_symmetric_blur_keeps_the_mean(name, shape):
    x = noisy(shape=shape).raw()
    made = apply(name, x, *CORRUPTIONS[name].levels[4])
    assert torch.allclose(made.mean((2, 3)), x.mean((2, 3)), atol=1e-6)
    assert float(made.var()) < 0.5 * float(x.var())


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "elastic_transform"])
def test_flat_images_do_not_change_under_blur(name):
    assert torch.allclose(corrupted(flat(0.3), name, 5).images, flat(0.3).images, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
def test_gaussian_blur_is_scipys(sigma):
    x = noisy(2).raw()
    expected = ndimage.gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="reflect")
    assert np.allclose(apply("gaussian_blur", x, sigma).numpy(), expected, atol=1e-5)


def test_blur_grows_with_the_image():
    x = noisy(shape=(1, 64, 64)).raw()
    assert torch.allclose(apply("gaussian_blur", x, 1.0), blurred(x, 2.0))


@pytest.mark.parametrize("radius", [0.3, 0.5])
def test_a_disk_inside_a_pixel_is_no_blur(radius):
    assert disk(radius).tolist() == [[1.0]]


@pytest.mark.parametrize("radius", [0.9, 1.6, 3.0])
def test_disk_weights_are_areas(radius):
    """The middle row's outermost pixel and the whole, against Monte Carlo; the axes are alike."""
    kernel = disk(radius).double()
    rng = np.random.default_rng(0)
    angle, distance = rng.uniform(0, 2 * np.pi, 400_000), radius * np.sqrt(rng.uniform(0, 1, 400_000))
    half = len(kernel) // 2
    edges = np.arange(2 * half + 2) - half - 0.5
    counted, _, _ = np.histogram2d(distance * np.cos(angle), distance * np.sin(angle), [edges, edges])
    assert np.allclose(kernel.numpy(), counted / 400_000, atol=5e-3)
    assert torch.equal(kernel, kernel.T)
    assert torch.equal(kernel, kernel.flip(0))


def test_defocus_levels_have_cifar_10_cs_variances():
    for (radius,), expected in zip(CORRUPTIONS["defocus_blur"].levels, (0.08, 0.21, 0.33, 0.40, 0.67), strict=True):
        kernel = disk(radius)
        offsets = torch.arange(len(kernel)) - len(kernel) // 2
        assert float((kernel.sum(1) * offsets**2).sum()) == pytest.approx(expected, abs=0.011)


def test_motion_blur_leaves_a_trail_to_one_side_of_a_point():
    x = torch.zeros(64, 1, 32, 32)
    x[:, 0, 16, 16] = 1
    made = apply("motion_blur", x, 2.5)[:, 0]
    columns = made.sum(1) @ torch.arange(32.0)
    rows = made.sum(2) @ torch.arange(32.0)
    assert torch.allclose(made.sum((1, 2)), torch.ones(64), atol=1e-4)
    assert bool((columns < 16).all())
    offsets = torch.arange(11.0)
    weights = torch.exp(-(offsets**2) / 12.5)
    length = float((offsets * weights).sum() / weights.sum())
    moved = torch.hypot(columns - 16, rows - 16)
    assert torch.allclose(moved, torch.full((64,), length), atol=0.02)
    assert float(((rows - 16).abs() - (columns - 16).abs()).max()) < 0.02  # within 45 degrees
    assert len({round(float(r), 3) for r in rows}) > 50  # each image its own direction


def test_zoom_blur_keeps_the_centre_and_point_symmetry():
    x = smooth(2)
    x = (x + x.flip(2, 3)) / 2
    made = apply("zoom_blur", x, 0.25)
    assert torch.allclose(made, made.flip(2, 3), atol=1e-5)
    ramp = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    factors = [1.0, *(1 + k / 100 for k in range(26))]
    inside = apply("zoom_blur", ramp, 0.25)[..., 4:-4]  # a ramp through the centre is divided by the factor
    assert torch.allclose(inside, ramp[..., 4:-4] * float(np.mean([1 / f for f in factors])), atol=1e-5)


# ---- tone


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


# ---- resampling


@pytest.mark.parametrize(("old", "new"), [(32, 20), (28, 25), (7, 7), (5, 1), (3, 8)])
def test_areas_are_integrals_of_a_line_of_pixels(old, new):
    values = np.random.default_rng(0).uniform(size=old)
    fine = np.repeat(values, new).reshape(new, old).mean(1)  # both lengths divide old * new
    assert np.allclose(areas(old, new).numpy() @ values, fine, atol=1e-6)


def test_pixelate_keeps_the_mean_and_makes_blocks():
    x = noisy(shape=(1, 32, 24)).raw()
    made = apply("pixelate", x, 0.5)
    assert torch.allclose(made.mean((2, 3)), x.mean((2, 3)), atol=1e-6)
    assert torch.allclose(made[:, :, ::2, ::2], made[:, :, 1::2, 1::2], atol=1e-6)
    assert torch.allclose(made[:, :, ::2, ::2], torch.nn.functional.avg_pool2d(x, 2), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels):
    data = noisy(2, (channels, 28, 28))
    made = corrupted(data, "jpeg_compression", 3)
    for image, found in zip(data.images.numpy(), made.images.numpy(), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image[0] if channels == 1 else image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=58)
        expected = np.asarray(Image.open(buffer))
        assert np.array_equal(found, expected[None] if channels == 1 else expected.transpose(2, 0, 1))


def test_elastic_transform_without_displacement_is_affine():
    """A ramp stays a plane under an affine map; away from the mirrored edges its second differences vanish."""
    ramp = (torch.arange(32.0) / 31).expand(8, 1, 32, 32)
    made = apply("elastic_transform", ramp, 0, 0, 2.56)[:, :, 8:24, 8:24]
    for axis in (2, 3):
        assert float(made.diff(n=2, dim=axis).abs().max()) < 1e-5
    assert float((made - ramp[:, :, 8:24, 8:24]).abs().max()) > 0.01


def test_elastic_transform_moves_its_three_points_by_at_most_t():
    ramp = torch.arange(33.0).expand(32, 1, 33, 33).contiguous()
    turn = 2.0
    moved = apply("elastic_transform", ramp, 0, 0, turn)[:, 0]
    shift = torch.stack([moved[:, 16 + a * 11, 16 + b * 11] - (16 + b * 11) for a, b in ((1, 1), (1, -1), (-1, -1))])
    limit = turn * 33 / 32
    assert float(shift.abs().max()) <= limit + 1e-4
    assert float(shift.abs().max()) > 0.9 * limit
    assert float(shift.abs().mean()) == pytest.approx(limit / 2, rel=0.25)


# ---- all of them

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
"""By pixels changed; the docstrings say why elastic_transform and saturate are not, pixelate's 26 and 25 of 28 pixels
fall differently on the image."""


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
    with pytest.raises(FormatError, match="noisy has images of 1 channels; saturate is defined for 3"):
        corrupted(noisy(shape=(1, 8, 8)), "saturate", 1)
    with pytest.raises(FormatError, match="4 channels; jpeg_compression is defined for 1 or 3"):
        corrupted(noisy(shape=(4, 8, 8)), "jpeg_compression", 1)

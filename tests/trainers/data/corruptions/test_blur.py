"""Blur: means, areas of disks, trails and centres."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from dsetpack.trainers.data.corrupt import CORRUPTIONS, corrupted
from dsetpack.trainers.data.corruptions.base import blurred
from dsetpack.trainers.data.corruptions.blur import disk
from tests.support.corruption_cases import apply, flat, noisy, smooth


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
    """The whole disk agrees with Monte Carlo, and its axes are alike."""
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
    assert len({round(float(r), 3) for r in rows}) > 50  # each image has its own direction


def test_zoom_blur_keeps_the_centre_and_point_symmetry():
    x = smooth(2)
    x = (x + x.flip(2, 3)) / 2
    made = apply("zoom_blur", x, 0.25)
    assert torch.allclose(made, made.flip(2, 3), atol=1e-5)
    ramp = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    factors = [1.0, *(1 + k / 100 for k in range(26))]
    inside = apply("zoom_blur", ramp, 0.25)[..., 4:-4]  # a ramp through the centre is divided by the factor
    assert torch.allclose(inside, ramp[..., 4:-4] * float(np.mean([1 / f for f in factors])), atol=1e-5)

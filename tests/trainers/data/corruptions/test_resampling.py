"""Pixelation, JPEG and elastic transforms."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dsetpack.trainers.data.corrupt import corrupted
from dsetpack.trainers.data.corruptions.resampling import areas
from tests.support.corruption_cases import apply, noisy


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

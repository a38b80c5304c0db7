"""ZCA on 2,000 real CIFAR-10 images: fewer than their 3,072 values, so the covariance is singular."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsetpack.spaces import Zca

ROOT = os.environ.get("DSETPACK_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not ROOT, reason="DSETPACK_DATA is not set: no full datasets here"),
]


def cifar10(count: int) -> torch.Tensor:
    """The first training images, uint8 [count, 3, 32, 32], from mosaics of 50 × 50 tiles."""
    path = sorted((Path(str(ROOT)) / "cifar10").glob("train_*.webp"))[0]
    mosaic = np.asarray(Image.open(path).convert("RGB"))
    tiles = mosaic.reshape(50, 32, 50, 32, 3).transpose(0, 2, 4, 1, 3).reshape(2500, 3, 32, 32)
    return torch.from_numpy(np.ascontiguousarray(tiles[:count]))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return cifar10(2000)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "side"), [("kornia", 32), ("frepo", 16)])
def test_zca_on_cifar10(images, variant, side):
    images = images[:, :, :side, :side]
    zca = Zca.fit(images, variant)
    x = images.float() / 255
    z = zca.apply(x[:64])
    torch.testing.assert_close(zca.invert(z), x[:64], atol=1e-4, rtol=0)

    a = x.double().numpy()
    if variant == "frepo":
        a = (a - a.mean((0, 2, 3), keepdims=True)) / a.std((0, 2, 3), keepdims=True)
    a = a.reshape(2000, -1)
    a -= a.mean(0)
    # the N×N Gram matrix has the covariance's eigenvalues, and its eigenvectors are the left singular vectors
    value, vector = np.linalg.eigh(a @ a.T)
    s = value / (1999 if variant == "kornia" else 2000)
    np.testing.assert_allclose(zca.model.spectrum, s[::-1][:16], rtol=1e-9)
    ridge = 0.1 if variant == "kornia" else 0.1 * (a**2).sum() / a.size
    whitened = vector[:64] / np.sqrt(s.clip(0) + ridge) @ (vector.T @ a)
    np.testing.assert_allclose(z.numpy().reshape(64, -1), whitened, atol=2e-4)

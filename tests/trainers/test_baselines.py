"""Random real images in as many bytes."""

import numpy as np
import pytest
import torch

from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.baselines import images_within, measure_random, random_pack, stored_bytes
from tests.support.stripes import RECIPE, stripes


def test_random_packs_are_real_images_of_every_class():
    data = stripes()
    made = random_pack(data, 3, seed=0)
    x, y = made.decode(list(range(6)))
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    pixels = {image.tobytes() for image in data.images.numpy()}
    assert all(image.tobytes() in pixels for image in np.rint(x.numpy() * 255).astype(np.uint8))
    space = Normalized.fit(data.images)
    inside = random_pack(data, 3, seed=0, space=space)
    assert torch.allclose(inside.decode(list(range(6)))[0], space.apply(x), atol=1e-5)
    assert len(made.to_bytes()) == stored_bytes(data, 3)  # 8-bit pixels, compressed
    assert len(made.to_bytes()) < len(inside.to_bytes())


def test_as_many_images_as_fit():
    data = stripes(80, noise=256)
    size = stored_bytes(data, 7)
    assert images_within(data, size) == 7
    assert images_within(data, size - 1) == 6
    assert images_within(data, 10) == 1
    assert images_within(data, 10**9) == 40


def test_the_baseline_takes_its_best_rate():
    data, test = stripes(), stripes(40, seed=9)
    found = measure_random(
        data, test, 2, recipe=RECIPE, augmentation=None, space=Raw(), subsets=2, rates=(1e-6, 1.0), seed=0
    )
    assert found.lr == RECIPE.lr
    assert found.accuracy > 0.6
    assert (found.per_class, found.subsets) == (2, 2)
    assert found.bytes == pytest.approx(stored_bytes(data, 2), abs=200)

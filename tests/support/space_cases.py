"""What the tests of spaces share."""

from __future__ import annotations

import numpy as np
import torch

from dsetpack import Pack
from dsetpack.spaces import Zca

DIGEST = "sha256:" + "0" * 64


def pictures(n: int = 300, shape: tuple[int, int, int] = (3, 4, 5), seed: int = 0) -> torch.Tensor:
    """Correlated raw images in [0, 1]."""
    rng = np.random.default_rng(seed)
    d = int(np.prod(shape))
    x = rng.normal(size=(n, d)) @ (rng.normal(size=(d, d)) * 0.02) + rng.uniform(0.3, 0.7, size=d)
    return torch.from_numpy(x.clip(0, 1).astype(np.float32).reshape(n, *shape))


def whitened(storage):
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    space = Zca.fit(images, storage=storage)
    return Pack.from_arrays(space.apply(images[:6]), [0, 1] * 3, space=space), images

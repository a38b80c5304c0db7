"""A mark for tests that need the full data sets, and arrays in their place."""

import os

import numpy as np
import pytest

DATA = os.environ.get("DSETPACK_DATA")
full = pytest.mark.skipif(not DATA, reason="DSETPACK_DATA is not set: no full data sets to read")


def arrays(n: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10

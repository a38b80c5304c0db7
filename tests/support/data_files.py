"""Values for files of data sets."""

import numpy as np

PLACES = ["", "{name}", "{folder}", "{name}/{folder}"]


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)

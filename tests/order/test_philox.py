"""Philox and its noise: published vectors, golden vectors, a slow oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack.formats.errors import FormatError
from dsetpack.order import philox
from tests.support import slow_order
from tests.support.order_cases import EPOCHS, SEEDS, VECTORS


def hexes(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("case", VECTORS["philox"], ids=lambda case: case["key"])
def test_philox_known_answers(case):
    counter = tuple(np.array([word], np.uint64) for word in hexes(case["counter"]))
    found = philox.philox4x32(counter, tuple(hexes(case["key"])))
    assert [int(word[0]) for word in found] == hexes(case["words"])


def test_golden_bits():
    for case in VECTORS["bits"]:
        found = philox.bits(case["seed"], case["epoch"], case["stream"], case["positions"])
        assert found.dtype == np.uint64
        assert [f"{word:016x}" for word in found.tolist()] == case["bits"]


def test_golden_noise():
    for case in VECTORS["noise"]:
        words = [slow_order.words(case["seed"], case["epoch"], 2, case["position"], block) for block in range(3)]
        assert [[f"{word:08x}" for word in block] for block in words] == case["words"]
        found = philox.noise(case["seed"], case["epoch"], [case["position"]], 5)
        np.testing.assert_array_max_ulp(found, np.array([case["normals"]], np.float32), maxulp=1)


@given(SEEDS, EPOCHS, st.integers(0, 255), st.lists(st.integers(0, 2**63 - 1), max_size=5))
def test_bits_match_the_slow_oracle(seed, epoch, stream, positions):
    found = philox.bits(seed, epoch, stream, np.array(positions, np.int64))
    assert found.tolist() == [slow_order.bits(seed, epoch, stream, p) for p in positions]


@settings(max_examples=50)
@given(SEEDS, EPOCHS, st.lists(st.integers(0, 2**62), max_size=4), st.integers(0, 9))
def test_noise_matches_the_slow_oracle(seed, epoch, positions, size):
    found = philox.noise(seed, epoch, np.array(positions, np.int64), size)
    assert found.shape == (len(positions), size)
    assert found.dtype == np.float32
    for row, position in zip(found, positions, strict=True):
        expected = np.array(slow_order.normals(seed, epoch, position, size), np.float32)
        np.testing.assert_array_max_ulp(row, expected, maxulp=1)


def test_more_than_one_chunk_gives_the_same_bits_and_noise():
    n = 3 * philox._CHUNK + 5
    whole = philox.bits(9, 4, 0, np.arange(n))
    some = [0, philox._CHUNK - 1, philox._CHUNK, n - 1]
    assert whole[some].tolist() == [slow_order.bits(9, 4, 0, p) for p in some]
    wide = philox.noise(9, 4, np.arange(400), 101)  # 51 blocks per position: several chunks
    np.testing.assert_array_equal(wide[399:], philox.noise(9, 4, [399], 101))
    np.testing.assert_array_equal(philox.noise(9, 4, [7], 2 * philox._CHUNK + 3)[0, :101], wide[7])


def test_noise_is_standard_normal():
    draws = philox.noise(3, 0, np.arange(4000), 50).astype(np.float64)
    assert abs(draws.mean()) < 5 / draws.size**0.5
    assert abs(draws.var() - 1) < 5 * (2 / draws.size) ** 0.5
    assert abs((draws**4).mean() - 3) < 5 * (96 / draws.size) ** 0.5
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 5 / 4000**0.5
    assert abs(draws).max() < 8.6


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, None, "7"])
def test_bad_seeds(seed):
    with pytest.raises(FormatError, match="seed must be"):
        philox.bits(seed, 0, 0, [0])


def test_numpy_seeds_are_whole_numbers():
    assert philox.bits(np.uint64(2**64 - 1), np.int64(3), 0, 5) == slow_order.bits(2**64 - 1, 3, 0, 5)

"""Philox, pairs, permutations, drawn slots and noise: against published vectors, golden vectors and a slow oracle."""

import hashlib
import json
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack.formats.errors import FormatError
from dsetpack.order import philox, rules
from dsetpack.order.checks import RULES
from dsetpack.order.pairs import PairTable
from tests.support import slow_order
from tests.support.paths import GOLDEN

VECTORS = json.loads((GOLDEN / "order.json").read_text())
SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 2**32 - 1)
PARTS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=4)


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


def test_golden_permutations():
    for case in VECTORS["permutation"]:
        assert rules.permutation(case["n"], case["seed"], case["epoch"]).tolist() == case["order"]
    for case in VECTORS["permutation_sha256"]:
        found = rules.permutation(case["n"], case["seed"], case["epoch"]).astype("<i8").tobytes()
        assert hashlib.sha256(found).hexdigest() == case["sha256"]


def test_golden_paired_epochs():
    for case in VECTORS["paired"]:
        table = PairTable([tuple(part) for part in case["parts"]])
        assert rules.epoch_order(table, "paired", case["seed"], case["epoch"]).tolist() == case["pairs"]


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
@given(PARTS, st.sampled_from(RULES), SEEDS, EPOCHS)
def test_epochs_match_the_slow_oracle(parts, rule, seed, epoch):
    found = rules.epoch_order(PairTable(parts), rule, seed, epoch)
    assert found.dtype == np.int64
    assert found.tolist() == slow_order.epoch(parts, rule, seed, epoch)


@settings(max_examples=50)
@given(SEEDS, EPOCHS, st.lists(st.integers(0, 2**62), max_size=4), st.integers(0, 9))
def test_noise_matches_the_slow_oracle(seed, epoch, positions, size):
    found = philox.noise(seed, epoch, np.array(positions, np.int64), size)
    assert found.shape == (len(positions), size)
    assert found.dtype == np.float32
    for row, position in zip(found, positions, strict=True):
        expected = np.array(slow_order.normals(seed, epoch, position, size), np.float32)
        np.testing.assert_array_max_ulp(row, expected, maxulp=1)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 63))
def test_argsort_is_stable_where_keys_collide(small, shift):
    keys = np.array(small, np.uint64) << np.uint64(shift)
    assert rules._argsort(keys).tolist() == sorted(range(len(small)), key=lambda i: (int(keys[i]), i))


def test_argsort_of_keys_that_differ_only_below_the_index_bits():
    keys = np.arange(1000, 0, -1).astype(np.uint64)
    assert rules._argsort(keys).tolist() == list(range(999, -1, -1))


def test_more_than_one_chunk_gives_the_same_bits_and_noise():
    n = 3 * philox._CHUNK + 5
    whole = philox.bits(9, 4, 0, np.arange(n))
    some = [0, philox._CHUNK - 1, philox._CHUNK, n - 1]
    assert whole[some].tolist() == [slow_order.bits(9, 4, 0, p) for p in some]
    wide = philox.noise(9, 4, np.arange(400), 101)  # 51 blocks a position: several chunks
    np.testing.assert_array_equal(wide[399:], philox.noise(9, 4, [399], 101))
    np.testing.assert_array_equal(philox.noise(9, 4, [7], 2 * philox._CHUNK + 3)[0, :101], wide[7])


def test_a_million_pairs_take_well_under_a_second():
    begun = time.perf_counter()
    pairs = rules.epoch_order(PairTable([(100_000, 10)]), "product", 0, 0)
    assert time.perf_counter() - begun < 3  # 0.1 s alone on one core of 2024; the machine may be busy
    assert np.array_equal(np.sort(pairs), np.arange(1_000_000))


def test_noise_is_standard_normal():
    draws = philox.noise(3, 0, np.arange(4000), 50).astype(np.float64)
    assert abs(draws.mean()) < 5 / draws.size**0.5
    assert abs(draws.var() - 1) < 5 * (2 / draws.size) ** 0.5
    assert abs((draws**4).mean() - 3) < 5 * (96 / draws.size) ** 0.5
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 5 / 4000**0.5
    assert abs(draws).max() < 8.6


def test_permutations_are_uniform():
    counts = np.zeros((5, 5))
    for seed in range(2000):
        counts[np.arange(5), rules.permutation(5, seed, 0)] += 1
    chi = ((counts - 400) ** 2 / 400).sum()  # 16 degrees of freedom: above 50 once in 50,000
    assert chi < 50


def test_slots_are_uniform_and_fresh_each_epoch():
    table = PairTable([(6000, 5)])
    draws = [rules.draw_slots(table, 1, epoch, np.arange(6000)) for epoch in (0, 1)]
    counts = np.bincount(draws[0], minlength=5)
    assert ((counts - 1200) ** 2 / 1200).sum() < 30  # 4 degrees of freedom
    assert 0.17 < (draws[0] == draws[1]).mean() < 0.23


def test_epochs_and_seeds_differ():
    table = PairTable([(50, 2)])
    orders = {tuple(rules.epoch_order(table, "product", s, e).tolist()) for s in (0, 1, 2**32) for e in (0, 1)}
    assert len(orders) == 6


def test_paired_takes_each_source_once():
    table = PairTable([(30, 4), (0, 2), (5, 1)])
    pairs = rules.epoch_order(table, "paired", 0, 0)
    part, source, slot = table.locate(pairs)
    assert sorted(zip(part.tolist(), source.tolist(), strict=True)) == [(0, i) for i in range(30)] + [
        (2, i) for i in range(5)
    ]
    assert len(set(slot[part == 0].tolist())) == 4


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, None, "7"])
def test_bad_seeds(seed):
    with pytest.raises(FormatError, match="seed must be"):
        philox.bits(seed, 0, 0, [0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: philox.bits(0, 2**32, 0, [0]), "epoch must be"),
        (lambda: philox.bits(0, -1, 0, [0]), "epoch must be"),
        (lambda: philox.bits(0, 0, 256, [0]), "stream must be"),
        (lambda: philox.bits(0, 0, 0, [-1]), "positions must be >= 0"),
        (lambda: philox.bits(0, 0, 0, [0.5]), "positions must be whole"),
        (lambda: philox.noise(0, 0, [[0]], 2), "one dimension"),
        (lambda: philox.noise(0, 0, [0], -1), "noise size"),
        (lambda: rules.permutation(-1, 0, 0), "can permute"),
        (lambda: rules.epoch_order(PairTable([(1, 1)]), "random", 0, 0), "rule must be"),
        (lambda: PairTable([(-1, 1)]), "part 0"),
        (lambda: PairTable([(1, 1), (1, 0)]), "part 1"),
        (lambda: PairTable([(2**40, 2**40)]), "more than"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(FormatError, match=message):
        call()


def test_numpy_seeds_are_whole_numbers():
    assert philox.bits(np.uint64(2**64 - 1), np.int64(3), 0, 5) == slow_order.bits(2**64 - 1, 3, 0, 5)


@given(PARTS)
def test_locate_is_the_numbering_of_the_design(parts):
    table = PairTable(parts)
    expected = [(p, s, k) for p, (n, slots) in enumerate(parts) for s in range(n) for k in range(slots)]
    assert len(table) == len(expected)
    assert table.num_sources == sum(n for n, _ in parts)
    found = table.locate(np.arange(len(table)))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected
    first = [sum(n for n, _ in parts[:p]) for p in range(len(parts))]
    sources = [first[p] + s for p, s, _ in expected]
    assert table.pairs(sources, [k for _, _, k in expected]).tolist() == list(range(len(table)))
    assert table.slots(sources).tolist() == [parts[p][1] for p, _, _ in expected]


def test_pair_table_refuses_numbers_out_of_range():
    table = PairTable([(2, 3), (4, 1)])
    for bad in ([10], [-1]):
        with pytest.raises(IndexError, match=r"0\.\.9"):
            table.locate(bad)
    with pytest.raises(IndexError, match="whole numbers"):
        table.locate([0.5])
    with pytest.raises(IndexError, match="slots must be"):
        table.pairs([2], [1])
    with pytest.raises(IndexError, match="source numbers"):
        table.slots([6])


def test_pair_table_is_a_value():
    table = PairTable([(2, 3)])
    assert pickle.loads(pickle.dumps(table)) == table == PairTable([[2, 3]])
    assert table != PairTable([(3, 2)])
    assert len({table, PairTable([(2, 3)])}) == 1
    assert eval(repr(table)) == table
    assert table.locate(np.array([[5]])) == (np.array([[0]]), np.array([[1]]), np.array([[2]]))


def test_floor_is_free_of_torch_and_numpy_random():
    folder = Path(rules.__file__).parent
    for name in ("philox", "pairs", "order", "schedule", "sampler"):
        text = (folder / f"{name}.py").read_text()
        assert "import torch" not in text
        assert "np.random" not in text

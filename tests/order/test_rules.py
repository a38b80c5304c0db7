"""Permutations, paired epochs and drawn slots: golden vectors, a slow oracle, statistics."""

import hashlib
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
from tests.support.order_cases import EPOCHS, PARTS, SEEDS, VECTORS


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


@settings(max_examples=50)
@given(PARTS, st.sampled_from(RULES), SEEDS, EPOCHS)
def test_epochs_match_the_slow_oracle(parts, rule, seed, epoch):
    found = rules.epoch_order(PairTable(parts), rule, seed, epoch)
    assert found.dtype == np.int64
    assert found.tolist() == slow_order.epoch(parts, rule, seed, epoch)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 63))
def test_argsort_is_stable_where_keys_collide(small, shift):
    keys = np.array(small, np.uint64) << np.uint64(shift)
    assert rules._argsort(keys).tolist() == sorted(range(len(small)), key=lambda i: (int(keys[i]), i))


def test_argsort_of_keys_that_differ_only_below_the_index_bits():
    keys = np.arange(1000, 0, -1).astype(np.uint64)
    assert rules._argsort(keys).tolist() == list(range(999, -1, -1))


def test_a_million_pairs_take_well_under_a_second():
    begun = time.perf_counter()
    pairs = rules.epoch_order(PairTable([(100_000, 10)]), "product", 0, 0)
    assert time.perf_counter() - begun < 3  # 0.1 s alone on one core of 2024; the machine may be busy
    assert np.array_equal(np.sort(pairs), np.arange(1_000_000))


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


def test_floor_is_free_of_torch_and_numpy_random():
    folder = Path(rules.__file__).parent
    for name in ("philox", "pairs", "rules", "schedule", "sampler"):
        text = (folder / f"{name}.py").read_text()
        assert "import torch" not in text
        assert "np.random" not in text

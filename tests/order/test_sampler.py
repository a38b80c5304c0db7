"""``PairSampler``: order over ranks, tails, epochs, and elastic resume, against the slow oracle."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack.formats.errors import FormatError, VersionError
from dsetpack.order.pairs import PairTable
from dsetpack.order.sampler import PairSampler
from tests.support import slow_order
from tests.support.slow_order import flat

PARTS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=3)
RULES = st.sampled_from(["product", "paired"])
SIZES = st.tuples(st.integers(1, 7), st.integers(1, 5))  # batch size, world size


def ranks(parts, batch_size, world, **options):
    return [PairSampler(PairTable(parts), batch_size, rank=r, world=world, **options) for r in range(world)]


def merged(samplers, steps=None):
    """The order over all ranks, step by step; and the state of each rank after the last step."""
    runs, out = [iter(s) for s in samplers], []
    while steps is None or steps > 0:
        batches = [next(run, None) for run in runs]
        out += [pair for batch in batches if batch for pair in batch]
        if not any(batches):
            break
        steps = None if steps is None else steps - 1
    return out, [s.state_dict() for s in samplers]


@settings(max_examples=60, deadline=None)
@given(PARTS, RULES, SIZES, st.integers(0, 2**64 - 1), st.integers(0, 99))
def test_ranks_merge_to_the_order_of_the_epoch(parts, rule, sizes, seed, epoch):
    samplers = ranks(parts, *sizes, rule=rule, seed=seed)
    for sampler in samplers:
        sampler.set_epoch(epoch)
    assert merged(samplers)[0] == slow_order.epoch(parts, rule, seed, epoch)


@settings(max_examples=60, deadline=None)
@given(PARTS, RULES, st.lists(st.tuples(SIZES, st.integers(0, 4)), max_size=4), SIZES)
def test_resume_gives_exactly_the_rest_in_order(parts, rule, stages, last):
    expected = slow_order.epoch(parts, rule, 5, 2)
    done, state = [], None
    for (batch_size, world), steps in stages:
        samplers = ranks(parts, batch_size, world, rule=rule, seed=5)
        for sampler in samplers:
            sampler.set_epoch(2) if state is None else sampler.load_state_dict(state)
        got, states = merged(samplers, steps)
        done += got
        # If the last step leaves some ranks without a batch, rank 0's state is the one to save.
        state = json.loads(json.dumps(states[0]))
        assert len(done) % (batch_size * world) or all(s == state for s in states)
        if state["epoch"] == 3:  # the epoch ended: the state stands at the start of the next
            assert (done, state["position"]) == (expected, 0)
            return
        assert (state["epoch"], state["position"]) == (2, len(done))
    samplers = ranks(parts, *last, rule=rule, seed=5)
    for sampler in samplers:
        sampler.set_epoch(2) if state is None else sampler.load_state_dict(state)
    assert done + merged(samplers)[0] == expected


def test_world_one_two_four():
    parts, expected = [(25, 4)], slow_order.epoch([(25, 4)], "product", 3, 0)
    first, states = merged(ranks(parts, 8, 1, seed=3), 2)
    assert first == expected[:16]
    two = ranks(parts, 8, 2, seed=3)
    for sampler in two:
        sampler.load_state_dict(states[0])
    second, states = merged(two, 2)
    assert second == expected[16:48]
    assert states[0] == states[1]
    four = ranks(parts, 4, 4, seed=3)
    for sampler in four:
        sampler.load_state_dict(states[1])
    assert merged(four)[0] == expected[48:]


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 5))
def test_tail_is_split_evenly_or_dropped(n, batch_size, world):
    even = ranks([(n, 1)], batch_size, world)
    sizes = [[len(batch) for batch in sampler] for sampler in even]
    assert sizes == [[len(b) for b in s] for s in even]  # every epoch is alike
    full, rest = divmod(n, batch_size * world)
    for r, (sampler, mine) in enumerate(zip(even, sizes, strict=True)):
        assert len(sampler) == len(mine)
        share = rest // world + (r < rest % world)
        assert mine == [batch_size] * full + [share] * (share > 0)
    for sampler in ranks([(n, 1)], batch_size, world, drop_last=True):
        assert [len(batch) for batch in sampler] == [batch_size] * full
        assert len(sampler) == full


def test_each_iteration_is_the_next_epoch():
    sampler = PairSampler(PairTable([(6, 1)]), 4, seed=1)
    orders = [slow_order.permutation(6, 1, e) for e in range(4)]
    iter(sampler)  # starts no epoch: DataLoaders call iter() twice
    assert sampler.epoch == 0
    assert flat(sampler) == orders[0]
    assert sampler.epoch == 1
    assert next(iter(sampler)) == orders[1][:4]
    assert sampler.epoch == 1
    assert flat(sampler) == orders[2]  # the one before was left early
    sampler.set_epoch(1)
    assert flat(sampler) == orders[1]
    sampler.set_epoch(1)
    assert flat(sampler) == orders[1]
    assert sampler.epoch == 2


def test_states_around_the_end_of_an_epoch():
    sampler = PairSampler(PairTable([(6, 1)]), 3)
    states = [sampler.state_dict(), *(sampler.state_dict() for _ in sampler), sampler.state_dict()]
    assert [(s["epoch"], s["position"]) for s in states] == [(0, 0), (0, 3), (0, 6), (1, 0)]
    sampler.load_state_dict(states[2])
    sampler.set_epoch(0)  # the epoch that was loaded: the position stays
    assert list(sampler) == []
    assert flat(sampler) == slow_order.permutation(6, 0, 1)
    sampler.load_state_dict(states[1])
    sampler.set_epoch(4)
    assert flat(sampler) == slow_order.permutation(6, 0, 4)


def test_consumed_counts_for_loaders_that_read_ahead():
    sampler = PairSampler(PairTable([(10, 1)]), 2, rank=0, world=2)
    assert sampler.state_dict(consumed=0) == sampler.state_dict()
    with pytest.raises(FormatError, match="no iteration has begun"):
        sampler.state_dict(consumed=1)
    list(sampler)  # all read ahead
    assert sampler.state_dict()["epoch"] == 1
    assert [sampler.state_dict(consumed=k)["position"] for k in range(4)] == [0, 4, 8, 10]
    with pytest.raises(FormatError, match="epoch has 3"):
        sampler.state_dict(consumed=4)
    sampler.load_state_dict(sampler.state_dict(consumed=1))
    list(sampler)
    assert [sampler.state_dict(consumed=k)["position"] for k in range(3)] == [4, 8, 10]


def test_an_old_iterator_does_not_disturb_a_new_one():
    sampler = PairSampler(PairTable([(8, 1)]), 2)
    old = iter(sampler)
    next(old)
    new = iter(sampler)
    next(new)
    rest = list(old)
    assert flat(rest) == slow_order.permutation(8, 0, 0)[2:]
    assert (sampler.state_dict()["epoch"], sampler.state_dict()["position"]) == (1, 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": 8}, FormatError, "ask for seed=8"),
        ({"rule": "paired"}, FormatError, "ask for rule='paired'"),
        ({"length": 5}, FormatError, "length 5, here it is 6"),
        ({"pairs": 5}, FormatError, "pairs 5, here it is 6"),
        ({"position": 7}, FormatError, "position 7"),
        ({"position": -1}, FormatError, "position -1"),
        ({"epoch": -1}, FormatError, "epoch must be"),
        ({"version": 2}, VersionError, "version 2"),
    ],
)
def test_states_of_something_else_are_refused(change, error, message):
    sampler = PairSampler(PairTable([(6, 1)]), 2)
    with pytest.raises(error, match=message):
        sampler.load_state_dict({**sampler.state_dict(), **change})
    with pytest.raises(FormatError, match="seed, length, pairs, position missing"):
        sampler.load_state_dict({"version": 1, "epoch": 0, "rule": "product"})


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"seed": -1},
        {"rule": "shuffle"},
        {"rank": 0},
        {"world": 2},
        {"rank": 2, "world": 2},
        {"rank": -1, "world": 2},
    ],
)
def test_bad_arguments(options):
    with pytest.raises(FormatError):
        PairSampler(PairTable([(6, 1)]), **{"batch_size": 2, **options})


def test_a_sampler_pickles_without_its_order():
    sampler = PairSampler(PairTable([(5000, 20)]), 10, seed=4)
    run = iter(sampler)
    next(run)
    assert len(pickle.dumps(sampler)) < 2000
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.state_dict() == sampler.state_dict()
    assert next(iter(copy)) == next(iter(sampler))

"""``Schedule``: which pairs each rank takes at each step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsetpack.formats.errors import FormatError
from dsetpack.order.pairs import PairTable
from dsetpack.order.sampler import PairSampler
from dsetpack.order.sampling import Sampling
from dsetpack.order.schedule import Schedule


def test_the_order_of_an_epoch_is_made_once_and_protected():
    schedule = Schedule(PairTable([(5, 2)]), 2, Sampling.of())
    assert schedule.order(0) is schedule.order(0)
    with pytest.raises(ValueError, match="read-only"):
        schedule.order(0)[0] = 1


@given(st.integers(0, 40), st.integers(1, 6), st.integers(1, 4), st.integers(0, 45), st.booleans())
def test_batches_of_all_ranks_are_the_rest_of_the_epoch_in_order(n, batch_size, world, start, drop_last):
    table = PairTable([(n, 1)])
    ranks = [
        Schedule(table, batch_size, Sampling.of(seed=3, rank=r, world=world, drop_last=drop_last)) for r in range(world)
    ]
    start = min(start, n)
    counts = [schedule.count(start) for schedule in ranks]
    found = [
        pair
        for number in range(max(counts))
        for schedule, count in zip(ranks, counts, strict=True)
        if number < count
        for pair in schedule.batch(4, start, number).tolist()
    ]
    rest = ranks[0].order(4)[start:].tolist()
    assert found == (rest[: len(rest) // ranks[0].step * ranks[0].step] if drop_last else rest)
    assert ranks[0].after(start, counts[0]) == (start + len(found))


def test_a_batch_is_the_callers_own():
    schedule = Schedule(PairTable([(5, 2)]), 2, Sampling.of())
    before = schedule.batch(0, 0, 0).tolist()
    schedule.batch(0, 0, 0)[:] = -1
    assert schedule.batch(0, 0, 0).tolist() == before


def test_a_state_says_where_all_ranks_are():
    schedule = Schedule(PairTable([(5, 2)]), 2, Sampling.of(seed=9, rank=1, world=2))
    state = schedule.state(3, 8)
    assert schedule.read_state(state) == (3, 8)
    assert Schedule(PairTable([(5, 2)]), 5, Sampling.of(seed=9)).read_state(state) == (3, 8)
    for consumed in (-1, 4):
        with pytest.raises(FormatError, match=f"{consumed} batches consumed, but the epoch has 3 from position 0 on"):
            schedule.after(0, consumed)
    with pytest.raises(FormatError, match="batch_size must be at least 1, found 0"):
        Schedule(PairTable([(5, 2)]), 0, Sampling.of())


def test_what_a_framework_puts_in_place_of_a_table_is_refused():
    for made in (Schedule, lambda table, size, sampling: PairSampler(table, size)):
        with pytest.raises(
            FormatError, match=r"found a range where .* pack.loader\(...\).*use_distributed_sampler=False"
        ):
            made(range(8), 2, Sampling.of())

"""``Schedule``: which pairs each rank takes at each step."""

import pytest

from dsetpack.order.pairs import PairTable
from dsetpack.order.sampling import Sampling
from dsetpack.order.schedule import Schedule


def test_the_order_of_an_epoch_is_made_once_and_protected():
    schedule = Schedule(PairTable([(5, 2)]), 2, Sampling.of())
    assert schedule.order(0) is schedule.order(0)
    with pytest.raises(ValueError, match="read-only"):
        schedule.order(0)[0] = 1

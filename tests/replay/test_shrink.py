"""What goes first when a memory is too large."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack.replay.shrink import Group, shrink


def slow_shrink(groups, balance, limit):
    """The rule as a plain loop: the unit with the most values, its group with the most, and the last among equals."""
    left = [group.count for group in groups]

    def unit(n):
        return groups[n].label if balance == "class" else groups[n].task

    while sum(k * g.cost for k, g in zip(left, groups, strict=True)) > limit:
        size = Counter()
        for n, group in enumerate(groups):
            size[unit(n)] += left[n] * group.values
        free = [n for n, k in enumerate(left) if k > 1]
        if not free:
            break
        left[max(free, key=lambda n: (size[unit(n)], unit(n), left[n] * groups[n].values, n))] -= 1
    return left


Groups = st.lists(
    st.builds(
        Group,
        task=st.integers(0, 3),
        label=st.integers(0, 3),
        count=st.integers(1, 12),
        values=st.integers(1, 4),
        cost=st.integers(1, 5),
    ),
    min_size=1,
    max_size=10,
)


@settings(deadline=None, max_examples=300)
@given(groups=Groups, balance=st.sampled_from(["class", "task"]), limit=st.integers(0, 300))
def test_shrinking_is_the_plain_rule(groups, balance, limit):
    assert shrink(groups, balance, limit) == slow_shrink(groups, balance, limit)

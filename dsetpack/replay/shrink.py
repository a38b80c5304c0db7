"""The choice of sources to drop when a memory is too large: the last picked ones, where there are most.

In each part, the sources of a class are in the order in which they were picked: herding and k-center put the most
useful first. Sources that were learned together have no such order; of them, too, the last are dropped. So each group,
which is the sources of one class in one part, loses its last sources. Groups belong to *units*, which are the classes
or the tasks: the unit with the most values loses next, and in it the group with the most values. Every group keeps one
source, so no class of any task is forgotten.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Balance = Literal["class", "task"]
BALANCES: tuple[Balance, ...] = ("class", "task")


@dataclass(frozen=True)
class Group:
    """The sources of one class in one part.

    Attributes:
        task, label: the numbers of the task and the class.
        count: the number of sources.
        values: how many values one source holds. Units are balanced by values, so small sources may be more in number.
        cost: the cost of one source, in bytes or images.
    """

    task: int
    label: int
    count: int
    values: int
    cost: float


def shrink(groups: Sequence[Group], balance: Balance, limit: float) -> list[int]:
    """Choose how many sources each group keeps, so that all of them together cost at most ``limit``.

    Args:
        groups: the groups in the order of parts; of equal groups, the later one loses first.
        balance: ``class`` shares between classes, and within a class between its tasks; ``task`` the other way round.
        limit: the limit, in the unit of ``cost``.

    Returns:
        a count for each group, at least 1 unless the group is empty. The total cost may exceed ``limit`` if no group
        can lose more.
    """
    kept = [group.count for group in groups]
    total = sum(group.count * group.cost for group in groups)
    units = _Units(groups, balance)
    while total > limit and (number := units.next()) is not None:
        kept[number] -= 1
        total -= groups[number].cost
    return kept


class _Units:
    """Heaps of groups, one per unit, in a heap of units: the largest first, and the last of equal ones."""

    def __init__(self, groups: Sequence[Group], balance: Balance) -> None:
        self._groups = groups
        self._inner: dict[int, list[tuple[int, int, int]]] = defaultdict(list)  # -values, -number, sources left
        totals: dict[int, int] = defaultdict(int)
        for number, group in enumerate(groups):
            unit = group.label if balance == "class" else group.task
            totals[unit] += group.count * group.values
            if group.count > 1:
                self._inner[unit].append((-group.count * group.values, -number, group.count))
        for inner in self._inner.values():
            heapq.heapify(inner)
        self._outer = [(-totals[unit], -unit) for unit in self._inner]
        heapq.heapify(self._outer)

    def next(self) -> int | None:
        """The number of the group that loses its last source; None if every group is down to one."""
        if not self._outer:
            return None
        negative, unit = self._outer[0]
        inner = self._inner[-unit]
        size, number, count = inner[0]
        values = self._groups[-number].values
        if count > 2:
            heapq.heapreplace(inner, (size + values, number, count - 1))
        else:
            heapq.heappop(inner)
        if inner:
            heapq.heapreplace(self._outer, (negative + values, unit))
        else:
            heapq.heappop(self._outer)
        return -number

"""Which sources go when a memory is too large: the last picked of whoever has the most.

Sources stand in each part class by class in the order in which they were picked: herding and k-center put the most
useful first. Sources that were learned together have no such order; of them the last go, too. So a group, the sources
of one class in one part, loses its last ones. Groups are shared out between *units*, the classes or the tasks: the unit
with the most values loses next, in it the group with the most. Every group keeps one source: no class of any task is
forgotten.
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
        task, label: numbers of task and class.
        count: how many sources.
        values: numbers that one source holds; units are balanced by these, so that small sources may be more.
        cost: what one source costs: bytes, or images.
    """

    task: int
    label: int
    count: int
    values: int
    cost: float


def shrink(groups: Sequence[Group], balance: Balance, limit: float) -> list[int]:
    """How many sources each group keeps so that all of them cost at most ``limit``.

    Args:
        groups: in the order of parts; of equal ones the later loses first.
        balance: ``class`` shares out between classes, and what a class has between its tasks; ``task`` the other way.
        limit: in the unit of ``cost``.

    Returns:
        a count for each group, 1 at least where it has any. They may cost more than ``limit`` where nothing can go.
    """
    kept = [group.count for group in groups]
    total = sum(group.count * group.cost for group in groups)
    units = _Units(groups, balance)
    while total > limit and (number := units.next()) is not None:
        kept[number] -= 1
        total -= groups[number].cost
    return kept


class _Units:
    """Heaps of groups, one a unit, in a heap of units; the largest first, of equal ones the last."""

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
        """The number of the group that loses its last source; None where every group is down to one."""
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

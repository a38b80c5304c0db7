"""Byte counts as people write them."""

from __future__ import annotations

import pytest

from dsetpack import FormatError
from dsetpack.replay import ReplayMemory


@pytest.mark.parametrize("budget", ["", "MB", "-1", "2 parsecs", 0, -5, 1.5, True, "0 B", None, "0.5", "1e6"])
def test_unreadable_budgets(budget):
    with pytest.raises(FormatError, match="expected bytes, such as"):
        ReplayMemory(budget)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2MB", 2_000_000),
        ("500 kB", 500_000),
        ("1.5MiB", 1_572_864),
        ("1gb", 10**9),
        (" 77 ", 77),
        ("0.29MB", 290_000),
        ("8B", 8),
        (9, 9),
    ],
)
def test_readable_budgets(text, size):
    assert ReplayMemory(text).budget == size

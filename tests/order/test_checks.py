"""Checks of seeds, epochs and rules."""

import numpy as np
import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.order.checks import RULES, check_epoch, check_rule, check_seed


@pytest.mark.parametrize(("check", "name", "bits"), [(check_seed, "seed", 64), (check_epoch, "epoch", 32)])
def test_whole_numbers_in_range_come_back_as_ints(check, name, bits):
    for value in (0, 2**bits - 1, np.uint32(7), np.int64(3), True):
        found = check(value)
        assert type(found) is int
        assert found == value
    for value in (-1, 2**bits, np.int8(-3)):
        with pytest.raises(FormatError, match=rf"{name} must be in 0..2\*\*{bits}-1, found {value}"):
            check(value)
    for value in (1.0, "1", None, np.float32(2)):
        with pytest.raises(FormatError, match=f"{name} must be a whole number, found"):
            check(value)


def test_rules():
    assert [check_rule(rule) for rule in RULES] == ["product", "paired"]
    for rule in ("Product", "", None, 0):
        with pytest.raises(FormatError, match="rule must be 'product' or 'paired', found"):
            check_rule(rule)

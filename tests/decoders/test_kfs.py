"""``kfs``: the paper's parameter counts, and codes as blocks of pixels."""

from __future__ import annotations

import pytest

from tests.support.decoder_cases import parameters

pytestmark = pytest.mark.usefixtures("one_thread")


def test_kfs_parameters_are_the_papers() -> None:
    assert parameters("kfs", decoders=1, channels=(12, 9, 6)) == 738
    assert parameters("kfs", decoders=8, channels=(12, 9, 6)) == 5904
    assert parameters("kfs", decoders=1, channels=(12, 9, 6), kernel=4) == 738 + 3 * (441 - 9 + 222 - 6 + 75 - 3)

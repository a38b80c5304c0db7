"""``notice``: one line about a decision, as a warning of its own class."""

import warnings

import numpy as np
import pytest

from dsetpack import Pack
from dsetpack.formats.notices import Notice, notice


def decide():
    notice("read as [N, H, W, C]; pass axes='NCHW' for the other")


def test_a_notice_is_a_warning_that_points_at_the_caller():
    with pytest.warns(Notice, match="read as") as caught:
        decide()
    assert caught[0].filename == __file__


def test_a_notice_can_be_made_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        with pytest.raises(Notice, match="axes"):
            decide()


def test_a_notice_from_deep_inside_points_at_the_line_of_the_user():
    with pytest.warns(Notice, match="are read as NHWC") as caught:
        Pack.from_arrays(np.zeros((2, 8, 8, 3), np.uint8), [0, 1])
    assert caught[0].filename == __file__

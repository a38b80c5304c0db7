"""``notice``: one line about a decision, as a warning of its own class."""

import warnings

import pytest

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

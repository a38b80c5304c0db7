"""Stages as text."""

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.staging import parse_stages


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("0,1;2,3", [(0, 1), (2, 3)]),
        (" 0, 1 ; 7 ", [(0, 1), (7,)]),
        ("3x2", [(0, 1), (2, 3), (4, 5)]),
        ("0,1;", [(0, 1), ()]),
    ],
)
def test_stages_as_text(text, stages):
    assert parse_stages(text) == stages


@pytest.mark.parametrize("text", ["", "a", "0,b", "5x", "x2", "0x2", "2x0", "2x2x2", "0,,1"])
def test_text_that_says_no_stages(text):
    if text == "":
        assert parse_stages(text) == [()]
        return
    with pytest.raises(FormatError, match="expected classes by number, as in '0,1;2,3'"):
        parse_stages(text)

"""The order of axes: taken where one reading makes sense, asked for where two do."""

import warnings

import pytest

from dsetpack.formats.axes import channels_last, seen
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((10, 3, 32, 32), "NCHW"),
        ((10, 1, 28, 28), "NCHW"),
        ((10, 1, 4, 4), "NCHW"),
        ((10, 2, 8, 3), "NCHW"),
        ((10, 32, 32, 3), "NHWC"),
        ((10, 28, 28, 1), "NHWC"),
        ((10, 28, 20, 2), "NHWC"),
        ((10, 64, 5, 4), "NHWC"),
        ((10, 12, 8, 8), "NCHW"),  # any number of channels
        ((10, 5, 5, 5), "NCHW"),
        ((10, 16, 4, 4), "NCHW"),  # a 4 that is not shorter than the others
        ((10, 3, 2, 2), "NCHW"),
        ((10, 3, 1, 1), "NCHW"),
        ((10, 1, 1, 1), "NCHW"),  # the same in both orders
        ((10, 3, 32, 3), None),
        ((10, 1, 28, 1), None),
        ((10, 4, 4, 4), None),
        ((10, 3, 32, 1), None),  # 3 channels of 32×1, or 1 of 3×32
        ((10, 4, 4, 3), None),
        ((10, 28, 28), "NCHW"),
        ((10, 3), "NCHW"),
    ],
)
def test_what_a_shape_shows(shape, order):
    assert seen(shape) == order


def test_one_reading_is_taken_and_said_unless_it_is_the_usual_one():
    with pytest.warns(
        Notice, match=r"\[10, 30, 32, 3\] are read as NHWC: 3 channels, 30×32 \(height × width\); axes='NCHW'"
    ):
        assert channels_last((10, 30, 32, 3))
    with pytest.warns(Notice, match="1 channel,"):
        assert channels_last((10, 28, 28, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((10, 3, 32, 32), (10, 12, 8, 8), (10, 28, 28), (10, 784)):
            assert not channels_last(shape)


def test_two_readings_are_an_error_that_names_both_and_the_option():
    with pytest.raises(FormatError) as caught:
        channels_last((10, 3, 32, 1))
    for words in (
        "NCHW (3 channels, 32×1 (height × width))",
        "NHWC (1 channel, 3×32 (height × width))",
        "axes='NCHW'",
        "--axes",
    ):
        assert words in str(caught.value)
    assert "--axes" in str(caught.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert channels_last((10, 3, 32, 1), "NHWC")
        assert not channels_last((10, 3, 32, 1), "NCHW")


def test_the_declared_order_wins_and_must_be_one():
    assert not channels_last((10, 32, 32, 3), "NCHW")
    assert channels_last((10, 3, 32, 32), "NHWC")
    assert not channels_last((10, 28, 28), "NHWC")  # no axis of channels
    with pytest.raises(FormatError, match="axes is 'CHW'; 'NCHW' or 'NHWC' expected"):
        channels_last((10, 32, 32, 3), "CHW")

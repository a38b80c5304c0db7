"""Which axis of an array of images holds the channels. Every way in from arrays to images asks here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice
from dsetpack.formats.words import plural

Axes = Literal["NCHW", "NHWC"]
_MOST = 4
"""The most channels that ordinary pictures have: red, green, blue and alpha."""


def channels_last(shape: Sequence[int], axes: Axes | None = None) -> bool:
    """Whether images of this shape are [N, H, W, C], and not [N, C, H, W]. What was decided by the shape is said.

    A shape of other than four axes has no channels that could be last.

    Args:
        shape: the shape of all images.
        axes: the order as the user declares it; by default the shape decides, as ``seen`` does.

    Raises:
        FormatError: if the shape can be read in both orders and none is declared, or if ``axes`` is no order.
    """
    if axes is not None and axes not in get_args(Axes):
        raise FormatError(f"axes is {axes!r}; 'NCHW' or 'NHWC' expected")
    found = axes or seen(shape)
    if len(shape) != 4 or found == "NCHW":
        return False
    _, first, middle, last = shape
    if found is None:
        raise FormatError(
            f"images of shape {list(shape)} can be NCHW ({_said(first, middle, last)}) or NHWC "
            f"({_said(last, first, middle)}); say which by axes='NCHW' or axes='NHWC' (--axes)"
        )
    if axes is None:
        notice(
            f"images of shape {list(shape)} are read as NHWC: {_said(last, first, middle)}; axes='NCHW' (--axes NCHW) "
            "reads them otherwise"
        )
    return True


def seen(shape: Sequence[int]) -> Axes | None:
    """The order of four axes, as their lengths show it; None if both orders make sense. Others are NCHW by default.

    Channels are few: an axis of length 1 to 4 that is shorter than height and width. If the second axis is such a one,
    the order is NCHW. If the last is, it is NHWC, unless the second could hold channels, too. If neither is, images of
    any number of channels may be meant, in the usual order NCHW, unless both axes have the same small length.
    """
    if len(shape) != 4:
        return "NCHW"
    _, first, middle, last = shape
    if _few(first) and first < min(middle, last):
        return "NCHW"
    if _few(last) and last < min(first, middle):
        return None if _few(first) else "NHWC"
    same = first == last and (first, middle, last) != (1, 1, 1)
    return None if same and _few(first) else "NCHW"


def _said(channels: int, height: int, width: int) -> str:
    return f"{plural(channels, 'channel')}, {height}×{width} (height × width)"


def _few(length: int) -> bool:
    return 1 <= length <= _MOST

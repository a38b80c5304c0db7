"""Alpha channels: never dropped without the user's word, unless they say nothing."""

from __future__ import annotations

from typing import Any, TypeVar

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice

Images = TypeVar("Images", bound=Any)
_ALPHA = (2, 4)
"""The numbers of channels with which the last one may be alpha: grey and alpha, or red, green, blue and alpha."""
_MODES = ("LA", "La", "PA", "RGBA", "RGBa")


def without_alpha(images: Images, drop: bool, *, pictures: bool) -> Images:
    """Images without the last of 2 or 4 channels, if the user said that it is alpha; an array cannot say so itself.

    Args:
        images: [N, C, H, W], any array that can be sliced.
        drop: whether the user said so.
        pictures: whether the array looks like pictures, so that a channel that may be alpha and is kept is said.
    """
    channels = images.shape[1]
    if channels not in _ALPHA:
        return images
    if pictures and not drop:
        notice(f"all {channels} channels are kept; if the last is alpha, drop_alpha=True (--drop-alpha) drops it")
    kept: Images = images[:, :-1] if drop else images
    return kept


class PictureAlpha:
    """The alpha channels of some image files.

    An alpha channel that is opaque everywhere carries nothing: it may be dropped, which is said once for all files.
    Any other is refused unless the user said that it may be dropped.

    Args:
        drop: whether the user said so.
    """

    def __init__(self, drop: bool) -> None:
        self._drop = drop
        self._opaque = 0

    def check(self, picture: Any, where: object) -> None:
        """Check that a picture's transparency may be lost, as it is by conversion to grey or colour.

        Args:
            picture: a Pillow image.
            where: its file, for the message.

        Raises:
            FormatError: if a pixel is not opaque, unless the user said that alpha may be dropped.
        """
        if self._drop or not (picture.mode in _MODES or "transparency" in picture.info):
            return
        if picture.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            raise FormatError(
                f"{where}: transparent pixels (mode {picture.mode}); pass drop_alpha=True (--drop-alpha) to drop the "
                "alpha channel and keep the colours under it, or save the images on a background"
            )
        self._opaque += 1

    def say(self) -> None:
        """Say how many opaque alpha channels were dropped, if any were."""
        if self._opaque:
            notice(f"alpha channels dropped, which are opaque everywhere: {self._opaque:,}")

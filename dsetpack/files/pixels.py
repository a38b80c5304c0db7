"""The pixels of image files."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsetpack.formats.alpha import PictureAlpha
from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable

Mode = Literal["L", "RGB"]


def stacked(
    files: Sequence[Path], mode: Mode | None = None, limits: Limits | None = None, *, drop_alpha: bool = False
) -> NDArray[np.uint8]:
    """Read the pixels of image files into one array, uint8 [N, C, H, W].

    Args:
        files: the files, at least one.
        mode: grey or colour; None for grey if all images are grey, and for colour otherwise.
        limits: how many bytes the images may take as floats; None for no limit.
        drop_alpha: drop alpha channels that are not opaque, too; the colours under them are kept.

    Raises:
        FormatError: if a file is not an image, is damaged, has more than 8 bits per channel, or differs in size from
            the first.
        FormatError: if a pixel is transparent, unless ``drop_alpha`` is set.
        LimitError: if the images are larger than ``limits.total``.
    """
    alpha = PictureAlpha(drop_alpha)
    mode = mode or ("L" if all(_look(file)[1] for file in files) else "RGB")
    (width, height), _ = _look(files[0])
    channels = 1 if mode == "L" else 3
    if limits is not None and (size := 4 * len(files) * channels * height * width) > limits.total:
        raise LimitError(f"{files[0].parent}: images of {size:,} bytes; at most {limits.total:,} are read")
    pixels = np.empty((len(files), channels, height, width), np.uint8)
    for place, file in enumerate(files):
        with _opened(file) as image:
            if image.size != (width, height):
                raise FormatError(
                    f"{file} is {image.height}×{image.width} and {files[0].name} is {height}×{width} (height × width): "
                    "all images must have one size; resize them first"
                )
            alpha.check(image, file)
            pixels[place] = _pixels(image, mode)
    alpha.say()
    return pixels


def _look(file: Path) -> tuple[tuple[int, int], bool]:
    """The size of an image (width, height) and whether it is grey, from the header alone."""
    with _opened(file) as image:
        return image.size, image.mode in ("1", "L", "LA")


def _pixels(image: Image.Image, mode: Mode) -> NDArray[np.uint8]:
    """The pixels of an image, uint8 [C, H, W]."""
    values = np.asarray(image.convert(mode))
    return values[None] if mode == "L" else values.transpose(2, 0, 1)


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image file, and turn Pillow's various errors into one.

    Raises:
        FormatError: if it does not exist, is not a sound image file, or has more than 8 bits per channel.
    """
    try:
        with Image.open(file) as image:
            _check_depth(file, image.mode)
            yield image
    except FormatError:
        raise  # it is a ValueError, too
    except FileNotFoundError as error:
        raise FormatError(f"{file}: no such file") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise FormatError(f"{file}: not a sound image file ({printable(str(error))[:160]})") from error


def _check_depth(file: Path, mode: str) -> None:
    if mode.startswith(("I", "F")):  # Pillow would clip them to 8 bits
        raise FormatError(f"{file}: pixels of mode {mode} found; 8 bits per channel expected: convert it first")

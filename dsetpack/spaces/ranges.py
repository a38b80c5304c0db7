"""What the values of float images show about their pixel space."""

from __future__ import annotations

import math

from torch import Tensor

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import notice
from dsetpack.spaces.base import Space
from dsetpack.spaces.normalized import Normalized
from dsetpack.spaces.raw import Raw

SLACK = 0.5
"""How far learned images may leave [0, 1], as raw pixels, without a word."""
_MOST = 2.0
"""The highest mean of raw images: real ones stay below 1, and learned ones move little of it."""
_ROUNDING = 1e-3
_OVERSHOOT = 0.25
"""How far resizing may take pixels below 0, as a share of the highest."""


def check_range(images: Tensor, space: Space, *, declared: bool = True) -> None:
    """Check that images can be in their space, as far as their values show it; an unusual range is said.

    Learned images may have any values: released sets hold raw pixels from -25.8 to 35.5. What is refused are pixels
    that nobody divided by 255: they have no negative values to speak of, and they are whole numbers, or their mean is
    above 2. That finds them averaged, resized and in dark sets; also if they were normalised, or are
    declared to be. If the space was not declared, images far outside [0, 1] are refused, too: they are more likely
    normalised.

    Args:
        images: floats [N, C, H, W]. If a value is not finite, nothing is checked.
        space: the space that they are in.
        declared: whether the user said so; if not, the space is raw by default.

    Raises:
        FormatError: if the images cannot be in the space, or if they do not have its channels.
    """
    seen = _range(images)
    if not all(map(math.isfinite, seen)):
        return
    raw = space.invert(images) if isinstance(space, Normalized) else images
    undone = _range(raw)
    if _undivided(raw, undone) or (undone[1] > _MOST and _undivided(images, seen)):
        raise FormatError(f"values from {seen[0]:g} to {seen[1]:g} look like pixels in 0..255; {_advice(space)}")
    if isinstance(space, Raw | Normalized) and not -SLACK <= undone[0] <= undone[1] <= 1 + SLACK:
        _unusual(seen, undone, space, declared)


def _range(x: Tensor) -> tuple[float, float]:
    low, high = x.aminmax()
    return low.item(), high.item()


def _undivided(x: Tensor, seen: tuple[float, float]) -> bool:
    """Whether values look like pixels in 0..255."""
    low, high = seen
    if not (high > _MOST and low >= -_OVERSHOOT * high):
        return False
    return x.mean().item() > _MOST or (low > -_ROUNDING and bool(((x - x.round()).abs() < _ROUNDING).all()))


def _advice(space: Space) -> str:
    if isinstance(space, Raw):
        return "raw ones are in [0, 1]: divide them by 255, or give them as uint8"
    if isinstance(space, Normalized) and max(space.model.std) > 1:
        return f"the space's mean and std are for such pixels: divide both by 255 (std is {max(space.model.std):g})"
    return f"divide them by 255, then map them into the {space.model.kind} space (space.apply)"


def _unusual(seen: tuple[float, float], undone: tuple[float, float], space: Space, declared: bool) -> None:
    found = f"values from {seen[0]:g} to {seen[1]:g}"
    if not declared:
        raise FormatError(
            f"{found}, and raw pixels are in [0, 1]; pass the space that they are in, such as space=Normalized(...), "
            "or space=Raw() if they are learned raw pixels"
        )
    as_raw = "" if isinstance(space, Raw) else f", as raw pixels from {undone[0]:g} to {undone[1]:g}"
    notice(f"{found} are kept as {space.model.kind}{as_raw}; raw pixels of real images are in [0, 1]")

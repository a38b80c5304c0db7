"""The user's own arrays, checked and converted to what a pack holds: images, labels and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dsetpack.decoders import decoder
from dsetpack.formats.card import Card, Labels
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw, Space, as_space

LOWEST, HIGHEST = -2.0, 3.0
"""The range of learned raw images: somewhat outside [0, 1] is allowed, but not beyond these values."""


def images_contents(
    images: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    classes: Sequence[str] | int | None,
    space: Space | None,
    title: str = "images",
    **card: Any,
) -> tuple[Card, Part, Space]:
    """Make the card, part and space of a pack of kind ``images``; see ``Pack.from_arrays``."""
    pixel_space = Raw() if space is None else as_space(space)
    x = as_images(_copy(images))
    y = as_labels(labels).to(x.device)
    if len(x) != len(y):
        raise FormatError(f"{plural(len(x), 'image')} and {plural(len(y), 'label')}")
    if x.shape[3] in (1, 3) and x.shape[1] > 4:
        raise FormatError(f"images of shape {list(x.shape)} look like [N, H, W, C]; [N, C, H, W] expected")
    if classes is None:
        classes = int(y.max()) + 1 if y.ndim == 1 else y.shape[1]
    names = class_names(classes)
    card.setdefault("labels", Labels(kind="soft" if y.ndim == 2 else "hard"))
    with at("card"):
        made = Card(title=title, classes=names, shape=_shape(x), space=pixel_space.model, **card)
    _check_values(x, y, made)
    config = ImagesConfig()
    part = Part("images", config, decoder("images", config, made.shape, len(names)), x, y)
    return made, part, pixel_space


def class_names(classes: Sequence[str] | int) -> tuple[str, ...]:
    """The class names as a tuple; if only the number of classes is given, their numbers are the names.

    Raises:
        FormatError: if there are no classes, or if ``classes`` is a string or a bool.
    """
    names = tuple(map(str, range(classes))) if isinstance(classes, int | np.integer) else tuple(classes)
    if not names or isinstance(classes, bool | str):
        raise FormatError(f"classes={classes!r}: expected a list of names or a number of classes, at least one")
    return names


def as_images(images: NDArray[Any] | Tensor) -> Tensor:
    """Convert images to float32 [N, C, H, W]; uint8 is multiplied by float32(1/255), so it can be stored exactly.

    Raises:
        FormatError: if the shape or dtype does not fit.
    """
    x = torch.as_tensor(images)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or not len(x):
        raise FormatError(f"images of shape {list(x.shape)}; [N, C, H, W] or [N, H, W] with N > 0 expected")
    if x.dtype == torch.uint8:
        return x.float() * float(np.float32(1 / 255))
    if not x.is_floating_point():
        raise FormatError(f"images of dtype {x.dtype}; uint8 or floats expected")
    return x.float()


def as_labels(labels: ArrayLike | Tensor) -> Tensor:
    """Copy labels: integers [N] or [N, 1] become int64 [N], floats [N, classes] become float32.

    Raises:
        FormatError: if the labels are neither.
    """
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        labels = (labels.float() if labels.is_floating_point() else labels).numpy()
    y = np.asarray(labels)
    if y.dtype.kind in "biu" and (y.ndim == 1 or y.shape[1:] == (1,)):
        return torch.from_numpy(y.astype(np.int64).reshape(-1))
    if y.dtype.kind == "f" and y.ndim == 2 and y.shape[1] > 1:
        return torch.from_numpy(y.astype(np.float32, order="C"))
    hint = ": give the names of classes as classes=" if y.dtype.kind in "OSU" else ""
    raise FormatError(f"labels are {y.dtype} {list(y.shape)}; integers [N], or soft floats [N, classes] expected{hint}")


def as_codes(codes: ArrayLike | Tensor) -> Tensor:
    """Copy sources as float32 to the CPU.

    Raises:
        FormatError: if they are not numbers.
    """
    if isinstance(codes, Tensor):
        return codes.detach().to("cpu", torch.float32, copy=True)
    x = np.asarray(codes)
    if x.dtype.kind not in "fiu":
        raise FormatError(f"codes of dtype {x.dtype}; floats expected")
    return torch.from_numpy(x.astype(np.float32, order="C"))


def _copy(images: ArrayLike | Tensor) -> Tensor:
    """Copy the caller's images."""
    if isinstance(images, Tensor):
        return images.detach().clone()
    x = np.asarray(images)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise FormatError(f"images of dtype {x.dtype}; uint8 or floats expected")
    return torch.from_numpy(x.astype(np.uint8 if x.dtype == np.uint8 else np.float32, order="C"))


def _shape(x: Tensor) -> tuple[int, int, int]:
    channels, height, width = x.shape[1:]
    return channels, height, width


def _check_values(x: Tensor, y: Tensor, card: Card) -> None:
    for what, values in (("images", x), ("labels", y)):
        if card.finite and not bool(values.isfinite().all()):
            raise FormatError(f"{what} hold NaN or infinity; finite=False keeps them")
    low, high = (value.item() for value in x.aminmax())
    if card.space.kind == "raw" and (low < LOWEST or high > HIGHEST):
        raise FormatError(
            f"raw images range from {low:g} to {high:g}; [0, 1] expected: pass uint8, or divide by 255; "
            "or pass space= if they are normalised"
        )

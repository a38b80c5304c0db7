"""The user's own arrays, checked and converted to what a pack holds: images, labels and codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dsetpack.decoders import decoder
from dsetpack.files.classes import places
from dsetpack.files.labels import LabelArray, count_classes, read_labels, span
from dsetpack.formats.axes import Axes, channels_last
from dsetpack.formats.card import Card, Labels
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.formats.words import plural
from dsetpack.pack.part import Part
from dsetpack.spaces import Raw, Space, as_space
from dsetpack.spaces.ranges import check_range

DTYPES = (
    "uint8 or floats expected: cast 0..255 to uint8, or make floats in [0, 1] by dividing by the largest possible value"
)
"""What dtypes images may have, and what to do with others, for messages."""


def images_contents(
    images: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    classes: Sequence[str] | int | None,
    space: Space | None,
    axes: Axes | None,
    title: str = "images",
    **card: Any,
) -> tuple[Card, Part, Space]:
    """Make the card, part and space of a pack of kind ``images``; see ``Pack.from_arrays``."""
    pixel_space = Raw() if space is None else as_space(space)
    copied = _copy(images)
    x = as_images(channels_first(copied, axes)).contiguous()
    y, names = as_labels(labels, classes)
    y = y.to(x.device)
    if len(x) != len(y):
        raise FormatError(f"{plural(len(x), 'image')} and {plural(len(y), 'label')}")
    card.setdefault("labels", Labels(kind="soft" if y.ndim == 2 else "hard"))
    with at("card"):
        made = Card(title=title, classes=names, shape=_shape(x), space=pixel_space.model, **card)
    _check_finite(x, y, made)
    if copied.dtype != torch.uint8:
        check_range(x, pixel_space, declared=space is not None)
    elif not isinstance(pixel_space, Raw):
        raise FormatError(
            f"uint8 images are raw pixels, not {made.space.kind} ones; leave out space=, or pass "
            "space.apply(torch.as_tensor(images) / 255)"
        )
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


def channels_first(images: Tensor, axes: Axes | None = None) -> Tensor:
    """View images as [N, C, H, W] if their channels are last; ``dsetpack.formats.axes`` decides it.

    Args:
        images: any number of axes; only four have channels that could be last.
        axes: the order as the user declares it; by default the shape decides.

    Raises:
        FormatError: if both orders could be meant.
    """
    return images.movedim(3, 1) if channels_last(images.shape, axes) else images


def as_images(images: NDArray[Any] | Tensor) -> Tensor:
    """Convert images to float32 [N, C, H, W]; uint8 is multiplied by float32(1/255), so it can be stored exactly.

    Raises:
        FormatError: if the shape or dtype does not fit.
    """
    x = images if isinstance(images, Tensor) else torch.from_numpy(images)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or not len(x):
        raise FormatError(f"images of shape {list(x.shape)}; [N, C, H, W] or [N, H, W] with N > 0 expected")
    if x.dtype == torch.uint8:
        return x.float() * float(np.float32(1 / 255))
    if not x.is_floating_point():
        raise FormatError(f"images of dtype {x.dtype}; {DTYPES}")
    return x.float()


def label_array(labels: ArrayLike | Tensor) -> LabelArray:
    """Copy labels of any form that ``read_labels`` knows: hard int64 [N], or soft float32 [N, classes].

    Raises:
        FormatError: as for ``read_labels``.
    """
    if not isinstance(labels, Tensor):
        return read_labels(np.asarray(labels))
    values, eps = labels.detach().cpu(), torch.finfo(labels.dtype).eps if labels.is_floating_point() else None
    unknown = eps is not None and labels.dtype not in (torch.float16, torch.float32, torch.float64)  # to numpy
    return read_labels((values.float() if unknown else values).numpy(), eps)


def as_labels(labels: ArrayLike | Tensor, classes: Sequence[str] | int | None) -> tuple[Tensor, tuple[str, ...]]:
    """Copy labels of any form, and find the names of their classes.

    Args:
        labels: class numbers [N] or [N, 1], class names [N], one-hot integers [N, classes], or soft floats [N,
            classes].
        classes: class names, or their number; None if the labels use all classes.

    Returns:
        hard int64 [N] or soft float32 [N, classes], and the class names.

    Raises:
        FormatError: as for ``label_array``, if labels do not fit the classes, or if undeclared classes have no label.
    """
    values, own = label_array(labels)
    if classes is None:
        classes = own or count_classes(values)
    names = class_names(classes)
    if isinstance(own, tuple):
        names, found = places(own, len(names) if isinstance(classes, int | np.integer) else names)
        return torch.from_numpy(np.array(found)[values]), names
    if own not in (None, len(names)):
        raise FormatError(
            f"labels of {plural(own, 'column')} for {plural(len(names), 'class')}; one column per class expected"
        )
    if values.ndim == 1 and len(values) and values.max() >= len(names):
        hint = ": class numbers start at 0; pass labels - 1" if 1 <= values.min() <= values.max() == len(names) else ""
        raise FormatError(f"{span(values)} for {plural(len(names), 'class')}{hint}")
    return torch.from_numpy(values), names


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
        raise FormatError(f"images of dtype {x.dtype}; {DTYPES}")
    return torch.from_numpy(x.astype(np.uint8 if x.dtype == np.uint8 else np.float32, order="C"))


def _shape(x: Tensor) -> tuple[int, int, int]:
    channels, height, width = x.shape[1:]
    return channels, height, width


def _check_finite(x: Tensor, y: Tensor, card: Card) -> None:
    for what, values in (("images", x), ("labels", y)):
        if card.finite and not bool(values.isfinite().all()):
            raise FormatError(f"{what} hold NaN or infinity; finite=False keeps them")

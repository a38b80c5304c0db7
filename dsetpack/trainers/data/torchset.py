"""A reader of any map-style torch dataset of (image, label): torchvision's, or your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dsetpack.formats.alpha import PictureAlpha, without_alpha
from dsetpack.formats.axes import Axes
from dsetpack.formats.errors import FormatError, at
from dsetpack.pack.arrays import DTYPES, channels_first
from dsetpack.trainers.data.reader import ImageData, hard_labels


class MapStyle(Protocol):
    """What ``from_torch`` needs of a dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_torch(
    dataset: MapStyle,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    axes: Axes | None = None,
    drop_alpha: bool = False,
) -> ImageData:
    """Read a whole dataset into memory.

    Args:
        dataset: its items are (image, label, ...). An image is a PIL image, which becomes grey or RGB, or a uint8 or
            float array or tensor [H, W], [C, H, W] or [H, W, C]; floats are in [0, 1], so leave normalisation out. All
            images have the same shape and dtype. A label is a class number or name.
        name: what to call the data; by default the name of the dataset's class.
        classes: class names; by default the dataset's attribute ``classes``, or numbers.
        axes: the order of the axes of arrays and tensors, with N for the items: ``NCHW`` or ``NHWC``; by default the
            shape decides, see ``dsetpack.formats.axes``.
        drop_alpha: drop the alpha channel of PIL images, and the last of 2 or 4 channels of arrays and tensors.

    Raises:
        FormatError: if the dataset is empty, or items are not as described.
        FormatError: if the axes can be read in both orders, or if PIL images have transparent pixels and nobody said
            to drop them.
    """
    alpha = PictureAlpha(drop_alpha)
    name = name or type(dataset).__name__
    if not len(dataset):
        raise FormatError(f"{name} is empty")
    images: list[Tensor] = []
    labels: list[Any] = []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, Sequence) or len(item) < 2:
            raise FormatError(f"{name}[{index}] is a {type(item).__name__}; expected (image, label)")
        if isinstance(item[0], Image.Image):
            axes = "NHWC"
        images.append(_image(item[0], f"{name}[{index}]", alpha))
        labels.append(item[1].tolist() if isinstance(item[1], Tensor) else item[1])
        if images[-1].shape != images[0].shape or images[-1].dtype != images[0].dtype:
            found, first = (f"{i.dtype} {list(i.shape)}" for i in (images[-1], images[0]))
            raise FormatError(f"{name}[{index}] is {found}; the first image is {first}: all must be alike")
    alpha.say()
    known = classes or getattr(dataset, "classes", None)
    with at(name):
        x = channels_first(torch.stack(images), axes)
        y, names = hard_labels(_array(labels), None if known is None else tuple(map(str, known)))
    x = x[:, None] if x.ndim == 3 else x
    x = without_alpha(x, drop_alpha, pictures=x.dtype == torch.uint8)
    return ImageData(x.contiguous(), y, names, name)


def _array(labels: list[Any]) -> NDArray[Any]:
    try:
        return np.array(labels)
    except ValueError as error:
        raise FormatError(f"labels of different shapes, such as {labels[0]!r}; class numbers expected") from error


def _image(value: Any, where: str, alpha: PictureAlpha) -> Tensor:
    """The image as uint8 or float32, its axes as they are: [H, W], [H, W, C] or [C, H, W]."""
    if isinstance(value, Image.Image) and not value.mode.startswith(("I", "F")):
        alpha.check(value, where)
        value = value.convert("L" if value.mode in ("1", "L", "LA", "La") else "RGB")
    image = value if isinstance(value, Tensor) else np.asarray(value)
    floats = image.is_floating_point() if isinstance(image, Tensor) else image.dtype.kind == "f"
    if not floats and image.dtype not in (torch.uint8, np.uint8):
        raise FormatError(f"{where}: an image of dtype {image.dtype}; {DTYPES}")
    if image.ndim not in (2, 3):
        raise FormatError(f"{where}: an image of shape {list(image.shape)}; expected [C, H, W], [H, W, C] or [H, W]")
    tensor = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image, order="C"))
    return tensor.float() if floats else tensor

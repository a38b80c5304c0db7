"""A reader of any map-style torch dataset of (image, label): torchvision's, or your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.formats.errors import FormatError, at
from dsetpack.trainers.data.reader import ImageData, hard_labels


class MapStyle(Protocol):
    """What ``from_torch`` needs of a dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_torch(dataset: MapStyle, *, name: str | None = None, classes: Sequence[str] | None = None) -> ImageData:
    """Read a whole dataset into memory.

    Args:
        dataset: its items are (image, label, ...). An image is a PIL image, a uint8 or float array [H, W] or
            [H, W, 1 or 3], or a tensor [H, W] or [C, H, W]; floats are in [0, 1], so leave normalisation out. All
            images have the same shape and dtype. A label is a class number or name.
        name: what to call the data; by default the name of the dataset's class.
        classes: class names; by default the dataset's attribute ``classes``, or numbers.

    Raises:
        FormatError: if the dataset is empty, or items are not as described.
    """
    name = name or type(dataset).__name__
    if not len(dataset):
        raise FormatError(f"{name} is empty")
    images: list[Tensor] = []
    labels: list[Any] = []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, Sequence) or len(item) < 2:
            raise FormatError(f"{name}[{index}] is a {type(item).__name__}; expected (image, label)")
        images.append(_image(item[0], f"{name}[{index}]"))
        labels.append(item[1].tolist() if isinstance(item[1], Tensor) else item[1])
        if images[-1].shape != images[0].shape or images[-1].dtype != images[0].dtype:
            found, first = (f"{i.dtype} {list(i.shape)}" for i in (images[-1], images[0]))
            raise FormatError(f"{name}[{index}] is {found}; the first image is {first}: all must be alike")
    known = classes or getattr(dataset, "classes", None)
    with at(name):
        y, names = hard_labels(_array(labels), None if known is None else tuple(map(str, known)))
    return ImageData(torch.stack(images), y, names, name)


def _array(labels: list[Any]) -> NDArray[Any]:
    try:
        return np.array(labels)
    except ValueError as error:
        raise FormatError(f"labels of different shapes, such as {labels[0]!r}; class numbers expected") from error


def _image(value: Any, where: str) -> Tensor:
    """The image as uint8 or float32 [C, H, W]."""
    if isinstance(value, Tensor):
        image = value[None] if value.ndim == 2 else value
    else:
        array = np.asarray(value)
        if array.ndim == 2:
            array = array[None]
        elif array.ndim == 3 and array.shape[-1] in (1, 3):
            array = array.transpose(2, 0, 1)
        if array.dtype.kind not in "uf":
            raise FormatError(f"{where}: an image of dtype {array.dtype}; expected uint8 or floats in [0, 1]")
        image = torch.from_numpy(np.ascontiguousarray(array))
    if image.ndim != 3:
        raise FormatError(f"{where}: an image of shape {list(image.shape)}; expected [C, H, W]")
    return image if image.dtype == torch.uint8 else image.float()

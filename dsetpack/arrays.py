"""Packs from people's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.decoders import decoder
from dsetpack.formats.card import Card, Labels
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.images import Config
from dsetpack.pack import Pack
from dsetpack.part import Part
from dsetpack.spaces import Raw, Space


def images_pack(
    images: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor,
    *,
    classes: Sequence[str] | int | None,
    space: Space | None,
    title: str = "images",
    **card: Any,
) -> Pack:
    """A pack of kind ``images``; see ``Pack.from_arrays``."""
    x, y = as_images(images), torch.as_tensor(labels)
    names = _class_names(classes, y)
    if len(x) != len(y):
        raise FormatError(f"{len(x)} images and {len(y)} labels")
    soft = y.ndim == 2
    y = y.float() if soft else y.long()
    card.setdefault("labels", Labels(kind="soft" if soft else "hard"))
    pixel_space = space or Raw()
    made = Card(title=title, classes=names, shape=(x.shape[1], x.shape[2], x.shape[3]), space=pixel_space.model, **card)
    config = Config()
    part = Part("images", config, decoder("images", config, made.shape, len(names)), x, y)
    return Pack(made, [part], pixel_space)


def as_images(images: NDArray[Any] | Tensor) -> Tensor:
    """Images as float32 [N, C, H, W]; uint8 is multiplied by float32(1/255), so that it is stored back exactly."""
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


def _class_names(classes: Sequence[str] | int | None, labels: Tensor) -> tuple[str, ...]:
    if classes is None:
        classes = int(labels.max()) + 1 if labels.ndim == 1 else labels.shape[1]
    return tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)

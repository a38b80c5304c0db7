"""Training on real images: what a pack is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dsetpack.pack.pack import Pack
from dsetpack.spaces import Space, Zca
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.seeds import generator


@dataclass(frozen=True, eq=False)
class RealImages:
    """Real images in a pixel space, as ``dsetpack.training.train.train`` wants a pack; mapped batch by batch.

    Attributes:
        data: all images, wherever they are.
        space: maps them, on the device of training.
    """

    data: ImageData
    space: Space

    def loader(self, *, batch_size: int, seed: int, device: torch.device) -> Epochs:
        """Batches of images float32 [B, C, H, W] and labels int64 [B]; every image once an epoch, in a new order."""
        return Epochs(self.data, self.space.to(device), batch_size, seed, device)


class Epochs:
    """What ``RealImages.loader`` returns: each iteration is the next epoch. The last batch may be smaller."""

    def __init__(self, data: ImageData, space: Space, batch_size: int, seed: int, device: torch.device) -> None:
        self._data, self._space, self._size = data, space, batch_size
        self._seed, self._device, self._epoch = seed, device, 0

    def __len__(self) -> int:
        return math.ceil(len(self._data) / self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._data), generator=generator(self._seed, "real images", self._epoch))
        self._epoch += 1
        for chosen in torch.split(order.to(self._data.images.device), self._size):
            yield self._space.apply(self._data.raw(chosen).to(self._device)), self._data.labels[chosen].to(self._device)


def with_its_space(pack: Pack, train: ImageData) -> Pack:
    """The pack with its ZCA fitted again on the real training images, where the file keeps only how to do that.

    Raises:
        FormatError, IntegrityError: they are not the images that it was fitted on.
    """
    if not isinstance(pack.space, Zca) or pack.space.ready:
        return pack
    return pack.with_space(Zca.refit(pack.space.model, train.images))

"""Real images to train on, for comparison with a pack."""

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
    """Real images in a pixel space, mapped batch by batch; ``dsetpack.training.train.train`` takes them like a pack.

    Attributes:
        data: all images, on any device.
        space: the pixel space; images are mapped into it on the device of training.
    """

    data: ImageData
    space: Space

    def loader(self, *, batch_size: int, seed: int, device: torch.device) -> Epochs:
        """Batches of images float32 [B, C, H, W] and labels int64 [B]; every image once per epoch, in a new order."""
        return Epochs(self.data, self.space.to(device), batch_size, seed, device)


class Epochs:
    """The loader of ``RealImages``: each iteration is the next epoch. The last batch may be smaller."""

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
    """The pack, with its ZCA fitted again on the real training images if the file does not hold it.

    Raises:
        IntegrityError: if they are not the images that it was fitted on.
        FormatError: if a ZCA cannot be fitted to them.
    """
    if not isinstance(pack.space, Zca) or pack.space.ready:
        return pack
    return pack.with_space(Zca.refit(pack.space.model, train.images))

"""``PackDataset``: every pair of a pack as a map-style dataset for stock loaders."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dsetpack.formats.words import plural
from dsetpack.loading.shared_epoch import shared
from dsetpack.loading.source import PairSource, Transform, decode, loaded
from dsetpack.order.checks import check_epoch, check_seed

Sample = tuple[Tensor, int | Tensor]


class PackDataset(Dataset[Sample]):
    """All pairs of a pack in the order of their pair_ids: ``dataset[i]`` is pair ``i``.

    It works with a stock ``DataLoader`` like any other map-style dataset. A loader fetches a whole batch with one call
    (``__getitems__``), which decodes the batch at once. The dataset holds no open file, position or random generator,
    so it can be pickled and forked. The sampler decides the order of the pairs (``pack.sampler()`` gives the order and
    the resume that dsetpack promises).

    An item is ``(x, y)``: x is float32 [C, H, W] in the pack's space, after ``transform``; y is a Python int if labels
    are hard (a batch collates to int64 [B]), or float32 [classes] if they are soft ([B, classes]).

    Args:
        pack: the pack; it must be on the CPU if worker processes are used. If its tensors are still in a file, they
            are read now.
        transform: applied to each image [C, H, W] on its own.
        seed: seed of the noise of ``generator`` parts; nothing else here is random. 0 <= seed < 2**64.

    Raises:
        FormatError: if the seed is out of range.
    """

    def __init__(self, pack: PairSource, transform: Transform | None = None, *, seed: int = 0) -> None:
        self.pack = loaded(pack)
        self.transform = transform
        self.seed = check_seed(seed)
        self._epoch: int | Tensor = 0

    @property
    def targets(self) -> list[int] | Tensor:
        """The label of each item: a list of ints, or float32 [len, classes]."""
        labels = self.pack.labels
        return labels if labels.is_floating_point() else labels.tolist()

    @property
    def classes(self) -> list[str]:
        """The class names; a hard label is an index into them."""
        return list(self.pack.card.classes)

    @property
    def epoch(self) -> int:
        """The epoch whose noise ``generator`` parts use; 0 until ``set_epoch`` is called."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which gives ``generator`` parts fresh noise; other kinds ignore it.

        Call it before each epoch. With persistent workers, also call it before the first epoch: the call sets up the
        shared memory through which the workers see later changes.

        Raises:
            FormatError: if ``epoch`` is not in 0..2**32-1.
        """
        number = check_epoch(epoch)
        if isinstance(self._epoch, Tensor):
            self._epoch.fill_(number)
        else:
            self._epoch = shared(torch.tensor(number, device="cpu"))

    def __len__(self) -> int:
        return len(self.pack)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        return self.__getitems__([operator.index(index)])[0]

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Sample]:
        """Decode the items of many indices with one call.

        Raises:
            IndexError: if an index is outside -len..len-1.
        """
        images, labels = decode(self.pack, [self._pair(index) for index in indices], self.seed, self.epoch)
        x = _alone(images) if self.transform is None else [self.transform(image) for image in _alone(images)]
        y = _alone(labels) if labels.is_floating_point() else labels.tolist()
        return list(zip(x, y, strict=True))

    def _pair(self, index: SupportsIndex) -> int:
        number, length = operator.index(index), len(self)
        if not -length <= number < length:
            raise IndexError(f"index {number} is out of range: the pack has {plural(length, 'pair')}")
        return number % length


def _alone(batch: Tensor) -> list[Tensor]:
    """The items of a batch, each with memory of its own: one that is kept or saved does not hold the others."""
    return [item.clone() for item in batch.unbind(0)]

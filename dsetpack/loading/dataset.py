"""``PackDataset``: every pair of a pack as a map-style dataset for stock loaders."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dsetpack.formats.card import Card
from dsetpack.formats.errors import DsetpackError
from dsetpack.loading.shared_epoch import shared
from dsetpack.order.checks import check_epoch, check_seed
from dsetpack.order.pairs import PairTable

PairIds = Sequence[int] | NDArray[np.integer[Any]] | Tensor
Transform = Callable[[Tensor], Tensor]
Sample = tuple[Tensor, int | Tensor]


class PairSource(Protocol):
    """What datasets and loaders need of a pack: ``dsetpack.Pack``, or anything that decodes pairs."""

    @property
    def table(self) -> PairTable:
        """Its pairs."""

    @property
    def card(self) -> Card:
        """Its card."""

    @property
    def labels(self) -> Tensor:
        """The label of every pair: int64 [len], or float32 [len, classes]."""

    @property
    def device(self) -> torch.device:
        """The device it decodes on."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> PairSource:
        """The same pairs on a device; this object stays where it is."""

    def decode(self, pair_ids: PairIds, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Decode pairs: images float32 [n, C, H, W] in the pack's space; labels int64 [n] or float32 [n, classes]."""


def loaded(pack: PairSource) -> PairSource:
    """Read the pack's tensors into memory: forked workers must not share an open file or connection."""
    _ = pack.device  # a pack opened from a file reads its tensors when they are first needed
    return pack


def decode(pack: PairSource, pair_ids: PairIds, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """Decode without gradients, and never on a GPU from inside a worker process.

    Raises:
        DsetpackError: if this is a worker process and the pack is not on the CPU.
    """
    if pack.device.type != "cpu" and get_worker_info() is not None:
        raise DsetpackError(
            f"the pack is on {pack.device}, and this is a DataLoader worker: worker processes cannot share a GPU "
            "context. Decode in the main process (num_workers=0, or pack.loader(device=...)), or give the workers "
            "pack.to('cpu')"
        )
    with torch.no_grad():
        return pack.decode(pair_ids, seed=seed, epoch=epoch)


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
            self._epoch = shared(torch.tensor(number))

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
        x = images.unbind(0) if self.transform is None else [self.transform(image) for image in images.unbind(0)]
        y = labels.unbind(0) if labels.is_floating_point() else labels.tolist()
        return list(zip(x, y, strict=True))

    def _pair(self, index: SupportsIndex) -> int:
        number, length = operator.index(index), len(self)
        if not -length <= number < length:
            raise IndexError(f"index {number} is out of range: the pack has {length} pairs")
        return number % length

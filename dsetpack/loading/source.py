"""What can be loaded from: anything that decodes pairs, and how loaders decode it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from dsetpack.formats.card import Card
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.order.pairs import PairTable

PairIds = Sequence[int] | NDArray[np.integer[Any]] | Tensor
Transform = Callable[[Tensor], Tensor]
Batch = tuple[Tensor, Tensor]
"""Images float32 [B, C, H, W], and labels int64 [B] or float32 [B, classes]."""


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
    """Read the pack's tensors into memory: forked workers must not share an open file or connection.

    Raises:
        FormatError: if ``pack`` is not a pack, nor anything else that decodes pairs.
    """
    if not all(hasattr(pack, name) for name in ("table", "card", "decode")):
        raise FormatError(
            f"found a {type(pack).__name__} where a pack was expected, such as dsetpack.open(file) or a memory's pack; "
            "if a framework made this object anew, give it pack.loader(...) instead"
        )
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

"""``EpochBoard``: the epoch of an ``IterableDataset`` whose copies live in several worker processes.

A ``DataLoader`` with workers never asks its dataset anything in the parent when an iteration begins, so the workers
must find out by themselves which epoch they run, and agree on it. The board is a small tensor in shared memory:

- the parent alone writes where to start (``set``), so ``set_epoch`` also reaches persistent workers;
- each worker writes only its own slot: how many iterations it has begun since, and in which iteration of the
  ``DataLoader`` (its base seed and its number of workers, equal in all workers of one iteration) it began the last one.

A worker that begins takes the count of any worker of the same iteration that has begun before it, else one more than
the highest count. So workers that missed an iteration, because it was abandoned before they had started, catch up.

Where the program reseeds torch alike before each iteration, only each worker's own count and the number of workers tell
iterations apart. That is not enough where one is abandoned, or the number goes back and forth: then say ``set_epoch``.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import warnings
from typing import Any, cast

import torch
from torch.utils.data import get_worker_info

_OWNER, _EPOCH, _POSITION, _MAIN = range(4)
_WORKERS = 1024
_COUNT = (1 << 31) - 1


class EpochBoard:
    """Where the iterations of one dataset object start, for its process and that process's workers."""

    def __init__(self) -> None:
        self._board = shared(torch.zeros(_MAIN + 1 + _WORKERS, dtype=torch.int64))
        self._board[_OWNER] = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # On its way to a worker the tensor stays in shared memory; an ordinary copy gets a board of its own.
        self.__dict__.update(state)
        self._board = shared(self._board)

    def set(self, epoch: int, position: int) -> None:
        """Parent only: the next iteration runs ``epoch`` from ``position``."""
        self._own()
        self._board[_MAIN:] = 0
        self._board[_EPOCH], self._board[_POSITION] = epoch, position

    def begin(self) -> tuple[int, int]:
        """Epoch and position of the iteration that this process begins now."""
        epoch, position = int(self._board[_EPOCH]), int(self._board[_POSITION])
        slot, tag = self._place()
        if slot is None:
            return epoch, position
        count = self._count(slot, tag)
        self._board[slot] = tag << 31 | count
        return epoch + count - 1, position if count == 1 else 0

    def mark(self, epoch: int) -> None:
        """Note that this process is in the middle of ``epoch``: its next iteration runs the one after."""
        slot, tag = self._place()
        if slot is not None:
            self._board[slot] = tag << 31 | max(0, epoch - int(self._board[_EPOCH]) + 1)

    def current(self) -> tuple[int, int, bool, bool]:
        """Parent only: epoch, start, whether an iteration has begun, and whether this process itself runs it.

        Before an iteration has begun, epoch and start are those of the next one.
        """
        self._own()
        epoch, position = int(self._board[_EPOCH]), int(self._board[_POSITION])
        counts = self._counts()
        if (count := max(counts)) == 0:
            return epoch, position, False, False
        return epoch + count - 1, position if count == 1 else 0, True, counts[0] == count

    def _place(self) -> tuple[int | None, int]:
        """Slot of this process and tag of the running iteration; no slot where the board is another family's."""
        worker = get_worker_info()
        if worker is None:
            self._own()
            return _MAIN, 0
        if worker.id >= _WORKERS:
            raise ValueError(f"at most {_WORKERS} workers can share a stream, found number {worker.id}")
        parent = multiprocessing.parent_process()
        if parent is None or parent.pid != int(self._board[_OWNER]):
            warnings.warn(
                "this stream was made in another process than the one that runs the DataLoader: its epochs do not "
                "advance by themselves; build it in that process, or call set_epoch there before each epoch",
                stacklevel=2,
            )
            return None, 0
        return _MAIN + 1 + worker.id, (worker.seed - worker.id + worker.num_workers) % (1 << 32) or 1

    def _count(self, slot: int, tag: int) -> int:
        """How many iterations this process has begun, the one that begins now included."""
        # Tag and count share one 64-bit word, so that another worker never sees one without the other.
        words: list[int] = self._board[_MAIN:].tolist()
        if tag:
            own = words[slot - _MAIN]
            if own >> 31 == tag:  # a persistent worker
                return (own & _COUNT) + 1
            for word in words:
                if word >> 31 == tag:
                    return word & _COUNT
        return max(word & _COUNT for word in words) + 1

    def _counts(self) -> list[int]:
        return [word & _COUNT for word in self._board[_MAIN:].tolist()]

    def _own(self) -> None:
        """In another main process than the one that made it, go on with a board of one's own."""
        if int(self._board[_OWNER]) != os.getpid() and get_worker_info() is None:
            self._board = shared(self._board.clone())
            self._board[_OWNER] = os.getpid()


def shared(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor moved into shared memory, or left alone where there is none (a locked-down container)."""
    with contextlib.suppress(RuntimeError):
        cast(Any, tensor).share_memory_()  # torch leaves this method untyped
    return tensor

"""``EpochBoard``: the epoch of an ``IterableDataset`` whose copies live in several worker processes.

When an iteration begins, a ``DataLoader`` with workers does not call its dataset in the parent process. So the workers
must find out by themselves which epoch they run, and agree on it. The board is a small tensor in shared memory:

- only the parent writes where to start (``set``), so ``set_epoch`` also reaches persistent workers;
- each worker writes only its own entry: how many iterations it has begun since then, and a tag of the ``DataLoader``
  iteration in which it began the last one (from its base seed and number of workers, which all its workers share).

A worker that begins takes the count of any worker of the same iteration that began before it, or else one more than
the highest count. So workers that missed an iteration, because it was abandoned before they started, catch up.

If the program sets the same torch seed before each iteration, only each worker's own count and the number of workers
tell iterations apart. That is not enough if an iteration is abandoned or the number of workers changes back and forth:
then call ``set_epoch``.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import warnings
from typing import Any, cast

import torch
from torch.utils.data import get_worker_info

from dsetpack.torch_settings import as_lasting

_OWNER, _EPOCH, _POSITION, _MAIN = range(4)
_WORKERS = 1024
_COUNT = (1 << 31) - 1


class EpochBoard:
    """The starting points of one dataset object's iterations, for its process and that process's workers."""

    def __init__(self) -> None:
        self._board = shared(torch.zeros(_MAIN + 1 + _WORKERS, dtype=torch.int64, device="cpu"))
        self._board[_OWNER] = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A tensor sent to a worker stays in shared memory; an ordinary copy gets a board of its own.
        self.__dict__.update(state)
        self._board = shared(self._board)

    def set(self, epoch: int, position: int) -> None:
        """Make the next iteration run ``epoch`` from ``position``; parent only."""
        self._own()
        self._board[_MAIN:] = 0
        self._board[_EPOCH], self._board[_POSITION] = epoch, position

    def begin(self) -> tuple[int, int]:
        """Begin an iteration in this process, and return its epoch and position."""
        epoch, position = int(self._board[_EPOCH]), int(self._board[_POSITION])
        slot, tag = self._place()
        if slot is None:
            return epoch, position
        count = self._count(slot, tag)
        self._board[slot] = tag << 31 | count
        return epoch + count - 1, position if count == 1 else 0

    def mark(self, epoch: int) -> None:
        """Note that this process is in the middle of ``epoch``: its next iteration runs the next epoch."""
        slot, tag = self._place()
        if slot is not None:
            self._board[slot] = tag << 31 | max(0, epoch - int(self._board[_EPOCH]) + 1)

    def current(self) -> tuple[int, int, bool, bool]:
        """Epoch, start, whether an iteration has begun, and whether this process itself runs it; parent only.

        Before an iteration has begun, epoch and start are those of the next one.
        """
        self._own()
        epoch, position = int(self._board[_EPOCH]), int(self._board[_POSITION])
        counts = self._counts()
        if (count := max(counts)) == 0:
            return epoch, position, False, False
        return epoch + count - 1, position if count == 1 else 0, True, counts[0] == count

    def _place(self) -> tuple[int | None, int]:
        """Find this process's entry and the iteration's tag; no entry if unrelated processes own the board."""
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
        """How many iterations this process has begun, including the one that begins now."""
        # Tag and count share one 64-bit word, so that another worker never sees one without the other.
        words: list[int] = self._board[_MAIN:].tolist()
        if tag:
            own = words[slot - _MAIN]
            if own >> 31 == tag:  # a persistent worker keeps its seed, and so its tag
                return (own & _COUNT) + 1
            for word in words:
                if word >> 31 == tag:
                    return word & _COUNT
        return max(word & _COUNT for word in words) + 1

    def _counts(self) -> list[int]:
        return [word & _COUNT for word in self._board[_MAIN:].tolist()]

    def _own(self) -> None:
        """Switch to a copy of the board in a main process other than the one that made it."""
        if int(self._board[_OWNER]) != os.getpid() and get_worker_info() is None:
            self._board = shared(self._board.clone())
            self._board[_OWNER] = os.getpid()


def shared(tensor: torch.Tensor) -> torch.Tensor:
    """Move the tensor into shared memory, or leave it alone if there is none (in a locked-down container)."""
    tensor = as_lasting(tensor)  # it is written to later, in any mode
    with contextlib.suppress(RuntimeError):
        cast(Any, tensor).share_memory_()  # torch leaves this method untyped
    return tensor

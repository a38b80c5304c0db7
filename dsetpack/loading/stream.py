"""``PackStream``: the batches of each epoch as an ``IterableDataset``, with elastic resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.loading.shared_epoch import EpochBoard
from dsetpack.loading.source import Batch, PairSource, Transform, decode, loaded
from dsetpack.order.checks import check_epoch
from dsetpack.order.sampling import Sampling
from dsetpack.order.schedule import Schedule


class PackStream(IterableDataset[Batch]):
    """Decoded batches, one epoch per iteration, for ``DataLoader(stream, batch_size=None, num_workers=n)``.

    Worker ``w`` of ``n`` decodes batches w, w + n, ... The ``DataLoader`` takes turns with its workers, so the batches
    come in the order of the epoch for any ``n`` (but not with ``in_order=False``). Ranks share an epoch as with
    ``PairSampler``, including its caveat about uneven last batches.

    **Epochs.** The first iteration runs epoch 0, and each later one the next epoch, even if the one before was left
    early, and with any kind of workers (see ``shared_epoch.py``). ``set_epoch(e)`` chooses the epoch of the next
    iteration; call it between iterations, in the process that runs the ``DataLoader``. One object serves one
    ``DataLoader`` at a time; every process of a distributed job builds its own. Workers recognise an iteration by
    torch's seed: a program that calls ``torch.manual_seed`` with the same seed before each iteration must also call
    ``set_epoch`` before each, unless all iterations run to their end with the same number of workers.

    **Resume.** This works as with ``PairSampler``, and with the same state. But if workers read ahead, only the
    training loop knows how many batches it has received, so it must say so: ``stream.state_dict(consumed=i + 1)``. A
    state with all batches consumed stands at the end of its epoch. The first iteration after loading it is empty, so
    resume with ``for epoch in range(stream.epoch, epochs)``. Under torchdata's ``StatefulDataLoader``, use that
    loader's own state instead (with the same number of workers).

    Args:
        pack: the pack; it must be on the CPU if workers are used. If its tensors are still in a file, they are read
            now.
        batch_size: samples per batch and rank.
        seed: seed of order and noise, 0 <= seed < 2**64.
        transform: applied to each batch of images float32 [B, C, H, W], in the process that decodes it.
        rule: ``product`` or ``paired``; by default the card's.
        drop_last: leave out an incomplete last step.
        rank, world: by default those of ``torch.distributed`` if it is initialised when the stream is built.

    Yields:
        (x, y): x float32 [B, C, H, W] in the pack's space; y int64 [B], or float32 [B, classes] if labels are soft.

    Raises:
        FormatError: if an argument is out of range.
    """

    def __init__(
        self,
        pack: PairSource,
        batch_size: int,
        *,
        seed: int = 0,
        transform: Transform | None = None,
        rule: str | None = None,
        drop_last: bool = False,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        self.pack = loaded(pack)
        self.transform = transform
        rule = pack.card.epoch_rule if rule is None else rule
        sampling = Sampling.of(seed=seed, rule=rule, rank=rank, world=world, drop_last=drop_last)
        self.schedule = Schedule(pack.table, batch_size, sampling)
        self._board = EpochBoard()
        self._run: StreamIterator | None = None  # the iteration that this process itself began last

    def __len__(self) -> int:
        """The number of batches in a whole epoch on this rank."""
        return self.schedule.count()

    def __iter__(self) -> StreamIterator:
        self._run = StreamIterator(self)
        return self._run

    @property
    def epoch(self) -> int:
        """The running epoch, or the next one if none has begun or this process has ended the last one."""
        epoch, _, _, own = self._board.current()
        return epoch + 1 if own and self._run is not None and self._run.ended else epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. A position just loaded in that same epoch is kept.

        Raises:
            FormatError: if ``epoch`` is not in 0..2**32-1.
        """
        number = check_epoch(epoch)
        current, _, begun, _ = self._board.current()
        if begun or current != number:
            self._board.set(number, 0)
        self._run = None

    def state_dict(self, consumed: int | None = None) -> dict[str, int | str]:
        """The position of all ranks. It is empty inside a worker process, where the iterator has the state.

        Args:
            consumed: batches that the training loop has received since the iteration began. It is needed if workers
                read ahead; without workers, the stream counts by itself.

        Raises:
            FormatError: if ``consumed`` is impossible, or is needed and missing.
        """
        if get_worker_info() is not None:
            return {}
        epoch, start, begun, own = self._board.current()
        run = self._run if own else None
        if run is not None:
            epoch, start = run.epoch, run.start
        if consumed is not None and (begun or consumed == 0):
            return self.schedule.state(epoch, self.schedule.after(start, consumed))
        if consumed is not None:
            raise FormatError(f"{plural(consumed, 'batch')} consumed, but no iteration has begun")
        if run is not None:
            return self.schedule.state(*((epoch + 1, 0) if run.ended else (epoch, run.position)))
        if begun:
            raise FormatError(
                "the stream is read by worker processes, which read ahead: call state_dict(consumed=number of batches "
                "received since this epoch began or was resumed)"
            )
        return self.schedule.state(epoch, start)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration give the rest of the epoch, from where the state was taken.

        Call it before the ``DataLoader`` starts its workers. Inside a worker process it does nothing.

        Raises:
            VersionError: if the state was written by a newer version.
            FormatError: if the state belongs to another pack, rule or seed, or is damaged.
        """
        if get_worker_info() is None:
            self._board.set(*self.schedule.read_state(state))
            self._run = None


class StreamIterator(Iterator[Batch]):
    """One process's share of one iteration of a :class:`PackStream`.

    Its ``state_dict`` and ``load_state_dict`` are for torchdata's ``StatefulDataLoader``, which calls them in the
    process that decodes.
    """

    def __init__(self, stream: PackStream) -> None:
        worker = get_worker_info()
        self._stream = stream
        self._worker, self._workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        self.epoch, self.start = stream._board.begin()
        self.taken = 0
        self.ended = False

    @property
    def position(self) -> int:
        """Samples of the epoch that all ranks have used, up to this iteration's last batch; only without workers."""
        return self._stream.schedule.after(self.start, self.taken)

    def __next__(self) -> Batch:
        stream, schedule = self._stream, self._stream.schedule
        number = self._worker + self.taken * self._workers
        if number >= schedule.count(self.start):
            self.ended = True
            raise StopIteration
        x, y = decode(stream.pack, schedule.batch(self.epoch, self.start, number), schedule.sampling.seed, self.epoch)
        x = x if stream.transform is None else stream.transform(x)
        self.taken += 1  # not reached if the transform fails
        return x, y

    def state_dict(self) -> dict[str, int]:
        """What this process has done."""
        return {
            "epoch": self.epoch,
            "start": self.start,
            "taken": self.taken,
            "worker": self._worker,
            "workers": self._workers,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue after the batches already taken.

        Raises:
            FormatError: if the state is another worker's.
        """
        if (state["worker"], state["workers"]) != (self._worker, self._workers):
            raise FormatError(
                f"state of worker {state['worker']} of {state['workers']} loaded by worker {self._worker} of "
                f"{self._workers}: keep num_workers, or resume by stream.load_state_dict, which is elastic"
            )
        self.epoch, self.start, self.taken = check_epoch(state["epoch"]), int(state["start"]), int(state["taken"])
        self._stream._board.mark(self.epoch)

"""``PackLoader``: decoded batches on a device, in the order that dsetpack promises, with elastic resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Never

import torch
from torch.utils.data import DataLoader, Dataset

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.loading.device import moved, usable
from dsetpack.loading.source import Batch, PairSource, Transform, decode, loaded
from dsetpack.order.pairs import Int64s
from dsetpack.order.sampler import PairIterator, PairSampler
from dsetpack.order.schedule import Schedule

Task = tuple[int, Int64s]  # an epoch and the pairs of one batch


class PackLoader:
    """An iterable of ``(x, y)`` batches, one epoch per iteration: what ``pack.loader()`` returns.

    Without workers, each batch is decoded in this process, on the device: for all kinds except wide generators this
    costs less than passing tensors between processes. With ``num_workers`` > 0, background processes decode on the
    CPU, a few batches ahead, and stay alive between epochs; the order stays the same.

    Order, epochs, ranks and resume are those of ``PairSampler``. The state counts the batches that the loop has
    received, however many were decoded ahead; a batch whose transform fails does not count. Two iterations at a time
    are possible only without workers: with workers, an iteration fails once a later one has begun.

    Args:
        pack: the pack. If its tensors are still in a file, they are read now.
        batch_size: samples per batch and rank.
        seed: seed of order and noise, 0 <= seed < 2**64.
        device: where batches end up, and where they are decoded if there are no workers; by default the pack's.
        transform: applied to each batch of images float32 [B, C, H, W], on the device.
        rule: ``product`` or ``paired``; by default the card's.
        drop_last: leave out an incomplete last step.
        num_workers: the number of background processes; they need the pack on the CPU.
        rank, world: by default those of ``torch.distributed`` if it is initialised when the loader is built.
        prefetch_factor: batches that each worker decodes ahead.
        multiprocessing_context: ``fork``, ``spawn`` or ``forkserver``; by default Python's own.

    Yields:
        (x, y): x float32 [B, C, H, W] in the pack's space; y int64 [B], or float32 [B, classes] if labels are soft.

    Raises:
        FormatError: if an argument is out of range, or if workers are asked for and the pack is not on the CPU.
        DsetpackError: from an iteration with workers, if a later one has begun.
    """

    def __init__(
        self,
        pack: PairSource,
        batch_size: int,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        transform: Transform | None = None,
        rule: str | None = None,
        drop_last: bool = False,
        num_workers: int = 0,
        rank: int | None = None,
        world: int | None = None,
        prefetch_factor: int = 2,
        multiprocessing_context: str | None = None,
    ) -> None:
        pack = loaded(pack)
        self.sampler = PairSampler(
            pack.table,
            batch_size,
            seed=seed,
            rule=pack.card.epoch_rule if rule is None else rule,
            rank=rank,
            world=world,
            drop_last=drop_last,
        )
        self.device = pack.device if device is None else usable(device)
        self.batch_size, self.drop_last = self.sampler.batch_size, self.sampler.drop_last
        self.transform = transform
        self.num_workers = num_workers
        if num_workers < 0:
            raise FormatError(f"num_workers must be at least 0, found {num_workers}")
        if num_workers and pack.device.type != "cpu":
            raise FormatError(
                f"the pack is on {pack.device}, and worker processes decode on the CPU: use num_workers=0 to decode "
                f"on the device, or pack.to('cpu').loader(device={str(self.device)!r}, num_workers={num_workers})"
            )
        self.pack = pack if num_workers or self.device == pack.device else pack.to(self.device)
        self._options = {"prefetch_factor": prefetch_factor, "multiprocessing_context": multiprocessing_context}
        self._tasks: _Tasks | None = None
        self._workers: DataLoader[Batch] | None = None
        self._latest: PairIterator | None = None  # the iteration that the workers serve

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tasks": None, "_workers": None, "_latest": None}

    def __len__(self) -> int:
        """The number of batches in a whole epoch on this rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        return self._deliver(iter(self.sampler))

    @property
    def dataset(self) -> Never:
        """There is none, since whole batches are decoded; code that takes loaders apart learns what to do instead.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            "a PackLoader has no dataset: to skip batches, use its state_dict and load_state_dict; for code that needs "
            "a torch DataLoader, use DataLoader(pack.dataset(), batch_sampler=pack.sampler(batch_size))"
        )

    @property
    def epoch(self) -> int:
        """The running epoch, or the next one if none has begun or the last one has ended."""
        return self.sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. A position just loaded in that same epoch is kept.

        Raises:
            FormatError: if ``epoch`` is not in 0..2**32-1.
        """
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int | str]:
        """The position of all ranks after the batches received so far."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration give the rest of the epoch, from where the state was taken.

        Raises:
            VersionError: if the state was written by a newer version.
            FormatError: if the state belongs to another pack, rule or seed, or is damaged.
        """
        self.sampler.load_state_dict(state)

    def _deliver(self, run: PairIterator) -> Iterator[Batch]:
        run.begin()
        for x, y in self._elsewhere(run) if self.num_workers else self._here(run):
            x, y = moved(x, self.device), moved(y, self.device)
            x = x if self.transform is None else self.transform(x)
            run.given += 1  # counts batches received, not batches decoded
            yield x, y
        run.ended = True

    def _here(self, run: PairIterator) -> Iterator[Batch]:
        schedule = self.sampler.schedule
        for number in range(schedule.count(run.start)):
            yield decode(self.pack, schedule.batch(run.epoch, run.start, number), schedule.sampling.seed, run.epoch)

    def _elsewhere(self, run: PairIterator) -> Iterator[Batch]:
        with torch.device("cpu"):  # the DataLoader draws a seed on torch's default device
            batches, self._latest = iter(self._start(run.epoch, run.start)), run
        for _ in range(self.sampler.schedule.count(run.start)):
            if self._latest is not run:
                raise DsetpackError("a later iteration of this loader has begun: its workers serve one at a time")
            yield next(batches)

    def _start(self, epoch: int, start: int) -> DataLoader[Batch]:
        """Tell the worker processes what to do; they are started once."""
        if self._tasks is None or self._workers is None:
            self._tasks = _Tasks(self.sampler.schedule)
            self._workers = DataLoader(
                _Batches(self.pack, self.sampler.schedule.sampling.seed),
                batch_size=None,
                sampler=self._tasks,
                num_workers=self.num_workers,
                persistent_workers=True,
                pin_memory=self.device.type == "cuda",
                generator=torch.Generator("cpu"),  # otherwise each epoch would draw from the user's random stream
                **self._options,  # type: ignore[arg-type]
            )
        self._tasks.epoch, self._tasks.start = epoch, start
        return self._workers


class _Tasks:
    """The sampler of the worker processes' loader: one task per batch."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return self.schedule.count(self.start)

    def __iter__(self) -> Iterator[Task]:
        epoch, start = self.epoch, self.start
        for number in range(self.schedule.count(start)):
            yield epoch, self.schedule.batch(epoch, start, number)


class _Batches(Dataset[Batch]):
    """The dataset of the worker processes' loader: a task in, a batch out."""

    def __init__(self, pack: PairSource, seed: int) -> None:
        self.pack = pack
        self.seed = seed

    def __getitem__(self, task: Task) -> Batch:
        epoch, pair_ids = task
        return decode(self.pack, pair_ids, self.seed, epoch)

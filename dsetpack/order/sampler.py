"""``PairSampler``: the batches of pair numbers of each epoch, for any ``DataLoader``, with elastic resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dsetpack.formats.errors import FormatError
from dsetpack.formats.words import plural
from dsetpack.order.checks import check_epoch
from dsetpack.order.pairs import PairTable
from dsetpack.order.sampling import Sampling
from dsetpack.order.schedule import Schedule


class PairSampler:
    """Batches of pair numbers, one epoch per iteration, in an order that depends on (seed, epoch, position) only.

    Use it as ``batch_sampler`` of a stock ``DataLoader`` over ``pack.dataset()``, or on its own with ``pack.decode``.

    At each step the ranks take contiguous, equal slices of the next ``batch_size * world`` samples, so the ranks'
    batches put one after another are the epoch's order. A remainder at the end is split as evenly as possible: the
    last batches of the ranks may differ in size by one, and if fewer samples than ranks are left, some ranks have one
    batch fewer. Code that calls a collective operation at every step (DDP, FSDP) must then use ``drop_last=True`` or
    ``torch.distributed.algorithms.Join``.

    **Epochs.** The first iteration runs epoch 0. Every later one runs the epoch after that of the iteration that began
    last, even if that one was left early. An iteration begins with its first batch: ``iter()`` alone changes nothing.
    ``set_epoch(e)`` chooses the epoch of the next iteration.

    **Resume.** ``state_dict()`` holds seed, rule, epoch and the position counted over all ranks: it is the same on
    every rank (save rank 0's), and may be loaded with another batch size, rank, world size or number of workers,
    also into a ``PackStream`` or a ``PackLoader``. A state of another pack, seed or rule is refused. The first
    iteration after ``load_state_dict`` gives exactly the rest of the epoch. For a state taken after the last batch but
    inside the loop, that rest is empty; after the loop has ended, the state stands at the start of the next epoch. So
    resume with ``for epoch in range(sampler.epoch, epochs)``.

    Args:
        table: the pack's pairs.
        batch_size: samples per batch and rank, >= 1.
        seed: 0 <= seed < 2**64.
        rule: ``product`` (every pair once per epoch) or ``paired`` (every source once).
        rank, world: the number of this process and how many there are; by default those of ``torch.distributed`` if it
            is initialised, otherwise 0 and 1.
        drop_last: leave out the last step of an epoch if it cannot fill ``batch_size * world`` samples.

    Raises:
        FormatError: if an argument is out of its range.
    """

    def __init__(
        self,
        table: PairTable,
        batch_size: int,
        *,
        seed: int = 0,
        rule: str = "product",
        rank: int | None = None,
        world: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.schedule = Schedule(
            table, batch_size, Sampling.of(seed=seed, rule=rule, rank=rank, world=world, drop_last=drop_last)
        )
        self.batch_size, self.drop_last = self.schedule.batch_size, self.schedule.sampling.drop_last
        self._next = (0, 0)  # epoch and position at which the next iteration starts
        self._run: PairIterator | None = None  # the iteration that began last

    @property
    def epoch(self) -> int:
        """The epoch that is running, or the next one if none has begun or the last one has ended."""
        return self._next[0] if self._run is None or self._run.ended else self._run.epoch

    def __len__(self) -> int:
        """The number of batches of a whole epoch on this rank."""
        return self.schedule.count()

    def __iter__(self) -> PairIterator:
        return PairIterator(self)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. A position just loaded in that same epoch is kept.

        Raises:
            FormatError: if the epoch is not in 0..2**32-1.
        """
        epoch = check_epoch(epoch)
        if self._run is not None or self._next[0] != epoch:
            self._next = (epoch, 0)
        self._run = None

    def state_dict(self, consumed: int | None = None) -> dict[str, int | str]:
        """The state of all ranks.

        Args:
            consumed: batches that the training loop has received since the iteration began. Give it if a
                ``DataLoader`` with workers reads ahead; without it, every batch handed out counts.

        Raises:
            FormatError: if ``consumed`` is not possible here.
        """
        run = self._run
        if run is None:
            if consumed:
                raise FormatError(f"{plural(consumed, 'batch')} consumed, but no iteration has begun")
            return self.schedule.state(*self._next)
        if consumed is not None:
            return self.schedule.state(run.epoch, self.schedule.after(run.start, consumed))
        return self.schedule.state(*(self._next if run.ended else (run.epoch, run.position)))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration give the rest of the epoch from where the state was taken.

        Raises:
            VersionError: if the state was written by a newer version.
            FormatError: if it belongs to another pack, rule or seed, or if it is damaged.
        """
        self._next = self.schedule.read_state(state)
        self._run = None

    def _begin(self, run: PairIterator) -> None:
        run.epoch, run.start = self._next
        self._run, self._next = run, (run.epoch + 1, 0)


class PairIterator(Iterator[list[int]]):
    """One iteration of a :class:`PairSampler`. It begins, and so takes its epoch, with the first batch.

    Its own ``state_dict`` and ``load_state_dict`` are for torchdata's ``StatefulDataLoader``, which asks for them.
    """

    def __init__(self, sampler: PairSampler) -> None:
        self._sampler = sampler
        self.epoch, self.start = sampler._next
        self.given = 0
        self.begun = self.ended = False

    @property
    def position(self) -> int:
        """Samples of the epoch used up by all ranks, including this iteration's last batch."""
        return self._sampler.schedule.after(self.start, self.given)

    def begin(self) -> None:
        """Take the epoch, unless that is done already."""
        if not self.begun:
            self.begun = True
            self._sampler._begin(self)

    def __next__(self) -> list[int]:
        self.begin()
        schedule = self._sampler.schedule
        if self.given >= schedule.count(self.start):
            self.ended = True
            raise StopIteration
        batch: list[int] = schedule.batch(self.epoch, self.start, self.given).tolist()
        self.given += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch, start and the number of batches given."""
        epoch, start = (self.epoch, self.start) if self.begun else self._sampler._next
        return {"epoch": epoch, "start": start, "given": self.given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the batches given; the sampler counts this epoch as begun."""
        self._sampler._next = (check_epoch(state["epoch"]), int(state["start"]))
        self._sampler._begin(self)
        self.begun, self.given = True, int(state["given"])

"""Which pairs each rank takes at each step: the plan that sampler, stream and loader share.

A plan holds no position. Every answer follows from (epoch, start, batch number), so any process can work out
any batch, and the progress of all ranks and workers is one number: the samples of the epoch that are used up.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from dsetpack.formats.errors import FormatError, VersionError
from dsetpack.formats.words import plural
from dsetpack.order.checks import check_epoch
from dsetpack.order.pairs import Int64s, PairTable
from dsetpack.order.rules import epoch_length, epoch_order
from dsetpack.order.sampling import Sampling

STATE_VERSION = 1


class Schedule:
    """The batches of one rank.

    Args:
        table: the pack's pairs.
        batch_size: samples per batch and rank, >= 1.
        sampling: seed, rule, rank, world size and what happens to the last step.

    Raises:
        FormatError: if ``table`` is not a ``PairTable``, or if the batch size is less than 1.
    """

    def __init__(self, table: PairTable, batch_size: int, sampling: Sampling) -> None:
        if not isinstance(table, PairTable):
            raise FormatError(
                f"found a {type(table).__name__} where a pack's table was expected (pack.table). If a framework makes "
                "samplers anew, pairs, seed or rule would be lost: give it pack.loader(...), which shares an epoch "
                "between processes by itself, or, for Lightning, Trainer(use_distributed_sampler=False)"
            )
        self.table, self.sampling = table, sampling
        self.batch_size = operator.index(batch_size)
        self.length = epoch_length(table, sampling.rule)
        if self.batch_size < 1:
            raise FormatError(f"batch_size must be at least 1, found {batch_size}")
        self._order: tuple[int, Int64s] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_order": None}

    @property
    def step(self) -> int:
        """The number of samples that all ranks together take at one step."""
        return self.batch_size * self.sampling.world

    def order(self, epoch: int) -> Int64s:
        """The pair numbers of an epoch: int64 [length], read-only. The last epoch asked for is kept."""
        if self._order is None or self._order[0] != epoch:
            self._order = None  # frees the old one before the new one is made
            order = epoch_order(self.table, self.sampling.rule, self.sampling.seed, epoch)
            order.flags.writeable = False
            self._order = (epoch, order)
        return self._order[1]

    def count(self, start: int = 0) -> int:
        """How many batches this rank has from global position ``start`` to the end of the epoch."""
        full, rest = divmod(max(self.length - start, 0), self.step)
        return full + (0 if self.sampling.drop_last else self._share(rest) > 0)

    def batch(self, epoch: int, start: int, number: int) -> Int64s:
        """The pairs of this rank's batch ``number`` (0..count(start)-1), counted from global position ``start``."""
        rank, world = self.sampling.rank, self.sampling.world
        first = start + number * self.step
        rest = self.length - first
        if rest >= self.step:
            first, size = first + rank * self.batch_size, self.batch_size
        else:
            first, size = first + rank * (rest // world) + min(rank, rest % world), self._share(rest)
        return self.order(epoch)[first : first + size].copy()

    def after(self, start: int, batches: int) -> int:
        """The global position after ``batches`` batches from position ``start``.

        Raises:
            FormatError: if this rank does not have this many.
        """
        if not 0 <= batches <= self.count(start):
            raise FormatError(
                f"{plural(batches, 'batch')} consumed, but the epoch has {self.count(start)} from position {start} on: "
                "count the batches received since this epoch began or was resumed"
            )
        return max(start, min(start + batches * self.step, self.length))

    def state(self, epoch: int, position: int) -> dict[str, int | str]:
        """The state of all ranks at one global position: plain numbers, fit for JSON."""
        return {
            "version": STATE_VERSION,
            "rule": self.sampling.rule,
            "seed": self.sampling.seed,
            "length": self.length,
            "pairs": len(self.table),
            "epoch": epoch,
            "position": position,
        }

    def read_state(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """Epoch and position of a state; batch size, rank, world and workers may differ from those it was taken with.

        Raises:
            VersionError: if the state was written by a newer version.
            FormatError: if it belongs to another pack, rule or seed, or if it is damaged.
        """
        expected = self.state(0, 0)
        if missing := [key for key in expected if key not in state]:
            raise FormatError(f"not a state of a dsetpack sampler, stream or loader: {', '.join(missing)} missing")
        if state["version"] != STATE_VERSION:
            raise VersionError(
                f"state has version {state['version']!r}; this dsetpack reads {STATE_VERSION}: update it"
            )
        for key, remedy in (
            ("pairs", "load it with the pack it was saved with"),
            ("rule", f"ask for rule={state['rule']!r}"),
            ("seed", f"ask for seed={state['seed']!r}"),
            ("length", "load it with the pack it was saved with"),
        ):
            if state[key] != expected[key]:
                raise FormatError(f"state has {key} {state[key]!r}, here it is {expected[key]!r}: {remedy}")
        epoch, position = check_epoch(state["epoch"]), operator.index(state["position"])
        if not 0 <= position <= self.length:
            raise FormatError(f"state has position {position}, expected 0..{self.length}")
        return epoch, position

    def _share(self, rest: int) -> int:
        """How many of the ``rest`` samples of a last step this rank takes."""
        return rest // self.sampling.world + (self.sampling.rank < rest % self.sampling.world)

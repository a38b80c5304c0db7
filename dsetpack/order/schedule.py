"""Which pairs each rank takes at each step: the plan that sampler, stream and loader share.

A plan holds no position. Every answer follows from (epoch, start, number of the batch), so any process can work out
any batch, and the progress of all ranks and workers is one number: the samples of the epoch that are used up.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from typing import Any

from dsetpack.formats.errors import FormatError, VersionError
from dsetpack.order.pairs import Int64s, PairTable
from dsetpack.order.philox import check_epoch, check_seed
from dsetpack.order.rules import check_rule, epoch_length, epoch_order

STATE_VERSION = 1


class Schedule:
    """The batches of one rank.

    Args:
        table: the pack's pairs.
        batch_size: samples a batch and rank, >= 1.
        seed: 0 <= seed < 2**64.
        rule: ``product`` (every pair once an epoch) or ``paired`` (every source once).
        rank, world: this process and how many there are; by default those of ``torch.distributed`` where it is
            initialised, else 0 and 1.
        drop_last: leave out the last step of an epoch where it cannot fill ``batch_size * world`` samples.

    Raises:
        FormatError: an argument out of its range.
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
        self.table = table
        self.batch_size = operator.index(batch_size)
        self.seed = check_seed(seed)
        self.rule = check_rule(rule)
        self.rank, self.world = rank_and_world(rank, world)
        self.drop_last = bool(drop_last)
        self.length = epoch_length(table, rule)
        if self.batch_size < 1:
            raise FormatError(f"batch_size must be at least 1, found {batch_size}")
        self._order: tuple[int, Int64s] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_order": None}

    @property
    def step(self) -> int:
        """Samples that all ranks together take at one step."""
        return self.batch_size * self.world

    def order(self, epoch: int) -> Int64s:
        """The pair numbers of an epoch: int64 [length], read-only. The last epoch asked for is kept."""
        if self._order is None or self._order[0] != epoch:
            self._order = None  # frees the old one before the new one is made
            order = epoch_order(self.table, self.rule, self.seed, epoch)
            order.flags.writeable = False
            self._order = (epoch, order)
        return self._order[1]

    def count(self, start: int = 0) -> int:
        """How many batches this rank has from global position ``start`` to the end of the epoch."""
        full, rest = divmod(max(self.length - start, 0), self.step)
        return full + (0 if self.drop_last else self._share(rest) > 0)

    def batch(self, epoch: int, start: int, number: int) -> Int64s:
        """The pairs of this rank's batch ``number`` (0..count(start)-1), counted from global position ``start``."""
        first = start + number * self.step
        rest = self.length - first
        if rest >= self.step:
            first, size = first + self.rank * self.batch_size, self.batch_size
        else:
            first, size = (
                first + self.rank * (rest // self.world) + min(self.rank, rest % self.world),
                self._share(rest),
            )
        return self.order(epoch)[first : first + size].copy()

    def after(self, start: int, batches: int) -> int:
        """The global position after ``batches`` batches from position ``start``.

        Raises:
            FormatError: this rank has not so many.
        """
        if not 0 <= batches <= self.count(start):
            raise FormatError(
                f"{batches} batches consumed, but the epoch has {self.count(start)} from position {start} on: "
                "count the batches received since this epoch began or was resumed"
            )
        return max(start, min(start + batches * self.step, self.length))

    def state(self, epoch: int, position: int) -> dict[str, int | str]:
        """The state of all ranks at one global position: plain numbers, good for JSON."""
        return {
            "version": STATE_VERSION,
            "rule": self.rule,
            "seed": self.seed,
            "length": self.length,
            "pairs": len(self.table),
            "epoch": epoch,
            "position": position,
        }

    def read_state(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """Epoch and position of a state; batch size, rank, world and workers may differ from those it was taken with.

        Raises:
            VersionError: the state was written by a newer version.
            FormatError: it belongs to another pack, rule or seed, or it is damaged.
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
        return rest // self.world + (self.rank < rest % self.world)


def rank_and_world(rank: int | None, world: int | None) -> tuple[int, int]:
    """Rank and world size as given, else those of ``torch.distributed`` where it is initialised, else 0 and 1.

    Raises:
        FormatError: only one of the two is given, or not 0 <= rank < world.
    """
    if (rank is None) != (world is None):
        raise FormatError(f"give both rank and world or neither, found rank={rank} and world={world}")
    if rank is None or world is None:
        distributed = sys.modules.get("torch.distributed")  # where nobody imported it, nobody initialised it
        if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
            return 0, 1
        return distributed.get_rank(), distributed.get_world_size()
    rank, world = operator.index(rank), operator.index(world)
    if not 0 <= rank < world:
        raise FormatError(f"needs 0 <= rank < world, found rank={rank} and world={world}")
    return rank, world

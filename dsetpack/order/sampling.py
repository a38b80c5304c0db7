"""``Sampling``: the checked settings that decide the order of every epoch and the share of each rank."""

from __future__ import annotations

import operator
import sys
from dataclasses import dataclass
from typing import SupportsIndex

from dsetpack.formats.errors import FormatError
from dsetpack.order.checks import check_rule, check_seed


@dataclass(frozen=True)
class Sampling:
    """How one rank samples every epoch.

    Attributes:
        seed: 0 <= seed < 2**64.
        rule: ``product`` (every pair once per epoch) or ``paired`` (every source once).
        rank, world: the number of this process and how many there are.
        drop_last: whether a last step that cannot fill all ranks' batches is left out.
    """

    seed: int
    rule: str
    rank: int
    world: int
    drop_last: bool

    @staticmethod
    def of(
        *,
        seed: SupportsIndex = 0,
        rule: str = "product",
        rank: SupportsIndex | None = None,
        world: SupportsIndex | None = None,
        drop_last: bool = False,
    ) -> Sampling:
        """Check what a caller gives; by default rank and world are those of ``torch.distributed``, otherwise 0 and 1.

        Raises:
            FormatError: if a value is out of its range, or if only one of rank and world is given.
        """
        here, all_ranks = rank_and_world(rank, world)
        return Sampling(check_seed(seed), check_rule(rule), here, all_ranks, bool(drop_last))


def rank_and_world(rank: SupportsIndex | None, world: SupportsIndex | None) -> tuple[int, int]:
    """Rank and world size as given, or those of ``torch.distributed`` if it is initialised, or 0 and 1.

    Raises:
        FormatError: if only one of the two is given, or if not 0 <= rank < world.
    """
    if (rank is None) != (world is None):
        raise FormatError(f"give both rank and world or neither, found rank={rank} and world={world}")
    if rank is None or world is None:
        distributed = sys.modules.get("torch.distributed")  # if nobody imported it, nobody initialised it
        if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
            return 0, 1
        return distributed.get_rank(), distributed.get_world_size()
    rank, world = operator.index(rank), operator.index(world)
    if not 0 <= rank < world:
        raise FormatError(f"needs 0 <= rank < world, found rank={rank} and world={world}")
    return rank, world

"""Rank and world of a process."""

import sys

from dsetpack.order.pairs import PairTable
from dsetpack.order.sampler import PairSampler
from dsetpack.order.sampling import rank_and_world
from tests.support import slow_order
from tests.support.slow_order import flat


def test_rank_and_world_come_from_torch_distributed(tmp_path):
    import torch.distributed as dist

    assert rank_and_world(None, None) == (0, 1)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert rank_and_world(None, None) == (0, 1)
        assert rank_and_world(1, 3) == (1, 3)
    finally:
        dist.destroy_process_group()


def test_rank_and_world_of_an_initialised_group(monkeypatch):
    class Group:
        is_available = is_initialized = staticmethod(lambda: True)
        get_rank = staticmethod(lambda: 2)
        get_world_size = staticmethod(lambda: 3)

    monkeypatch.setitem(sys.modules, "torch.distributed", Group)
    sampler = PairSampler(PairTable([(9, 1)]), 1)
    assert flat(sampler) == slow_order.permutation(9, 0, 0)[2::3]

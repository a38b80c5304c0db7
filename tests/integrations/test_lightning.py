"""The protocol of Lightning with a small stand-in; ``tests/frameworks`` uses the real one."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from dsetpack import Pack
from dsetpack.formats.errors import FormatError
from dsetpack.replay import ReplayMemory
from tests.support.replay_packs import arrays


@pytest.fixture
def module(monkeypatch):
    pytorch = ModuleType("pytorch_lightning")
    pytorch.LightningDataModule = type("LightningDataModule", (), {})
    monkeypatch.setitem(sys.modules, "pytorch_lightning", pytorch)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    monkeypatch.delitem(sys.modules, "dsetpack.integrations.lightning", raising=False)
    from dsetpack.integrations.lightning import ReplayDataModule

    yield ReplayDataModule
    del sys.modules["dsetpack.integrations.lightning"]


def test_the_protocol_of_a_data_module(module):
    new = Pack.from_arrays(*arrays([2, 3], 6), classes=4).loader(4, seed=0)
    memory = ReplayMemory("1MB", classes=4)
    with pytest.raises(FormatError, match="nothing to train on"):
        module(memory).train_dataloader()
    alone = module(memory, new).train_dataloader()
    assert not hasattr(alone, "sampler")  # Lightning treats loaders with a sampler as torch's own
    assert [len(y) for _, y in alone] == [4, 4, 4]
    assert alone.state_dict() == new.state_dict()
    memory.add_arrays(*arrays([0, 1], 5))
    mixed = module(memory, new, ratio=0.5, seed=3).train_dataloader()
    assert mixed.state_dict()["ratio"] == 0.5
    assert [len(y) for _, y in mixed] == [6, 6, 6]
    ended = mixed.state_dict()  # inside the loop, after its last batch
    mixed.load_state_dict({**ended, "new": {**ended["new"], "epoch": 0, "position": 12}})
    assert [len(y) for _, y in mixed] == [6, 6, 6]
    stock = DataLoader(TensorDataset(*new.pack.decode(range(12))), batch_size=4)
    mixed = module(memory, stock, ratio=0.5).train_dataloader()
    assert not hasattr(mixed, "state_dict")  # else Lightning would ask for it with every checkpoint
    assert [len(y) for _, y in mixed] == [6, 6, 6]
    rehearsed = module(memory, batch_size=5).train_dataloader()
    assert sum(len(y) for _, y in rehearsed) == 10
    assert len(rehearsed) == 2
    made = module(memory, new, val=new, test=[1])
    assert (len(made.val_dataloader()), made.test_dataloader()) == (3, [1])
    assert module(memory, new).val_dataloader() == []


def test_rehearsal_goes_on_where_lightning_asks_for_the_loader_again(module):
    """With ``reload_dataloaders_every_n_epochs`` the loader stays the same while memory and new data do."""
    new = Pack.from_arrays(*arrays([2, 3], 6), classes=4).loader(4, seed=0)
    memory = ReplayMemory("1MB", classes=4)
    memory.add_arrays(*arrays([0, 1], 18))
    made = module(memory, new, ratio=1.0)
    seen = torch.cat([x[4:] for _ in range(3) for x, _ in made.train_dataloader()])
    assert len(seen.unique(dim=0)) == 36  # each of 36 once in 3 × 12, not the same 12
    before = made.train_dataloader()
    assert made.train_dataloader() is before
    memory.add_arrays(*arrays([2], 1))
    after = made.train_dataloader()
    assert after is not before
    for batches in ([next(iter(new))], [next(iter(new))]):  # lists of tensors have no ==
        made.new = batches
        assert sum(1 for _ in made.train_dataloader()) == 1
    made.new = lambda: new
    assert made.train_dataloader() is not after
    assert made.train_dataloader() is made.train_dataloader()


def test_new_data_that_processes_would_not_share_are_refused(module, monkeypatch):
    pack = Pack.from_arrays(*arrays([2, 3], 6), classes=4)
    data = TensorDataset(*pack.decode(range(12)))
    memory = ReplayMemory("1MB", classes=4)
    memory.add_arrays(*arrays([0, 1], 5))
    monkeypatch.setattr("dsetpack.integrations.lightning.rank_and_world", lambda *_: (1, 2))
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    paired = DataLoader(pack.dataset(), batch_sampler=pack.sampler(4))
    for whole in (
        pack.loader(4), paired, DataLoader(data, 4), DataLoader(data, 4, shuffle=True), stateful(data, 4),
        stateful(data, 4, shuffle=True),
    ):  # fmt: skip
        with pytest.raises(FormatError, match="for 1 process, and there are 2, each of which would"):
            module(memory, whole).train_dataloader()
    sampler = DistributedSampler(data, num_replicas=2, rank=1)
    paired = DataLoader(pack.dataset(), batch_sampler=pack.sampler(4, rank=1, world=2))
    for share in (
        pack.loader(4, rank=1, world=2), paired, DataLoader(data, 4, sampler=sampler), [(1, 2)],
        stateful(data, 4, sampler=sampler), DataLoader(data, batch_sampler=[[0], [1]]),
    ):  # fmt: skip
        module(memory, lambda share=share: share).train_dataloader()
        module(memory, share).train_dataloader()


def test_a_loader_that_was_made_before_the_processes_is_made_again(module, monkeypatch):
    """``len(module.train_dataloader())`` for a schedule comes before Lightning starts the processes."""
    pack = Pack.from_arrays(*arrays([2, 3], 6), classes=4)
    memory = ReplayMemory("1MB", classes=4)
    memory.add_arrays(*arrays([0, 1], 6))
    made = module(memory, lambda: pack.loader(4))
    assert len(made.train_dataloader()) == 3
    for name in ("dsetpack.integrations.lightning", "dsetpack.order.sampling"):
        monkeypatch.setattr(f"{name}.rank_and_world", lambda *_: (1, 2))
    assert len(made.train_dataloader()) == 2

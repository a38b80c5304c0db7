"""The protocols of Avalanche and Lightning by small stand-ins; ``tests/frameworks`` has the real ones."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset, default_collate

from dsetpack import Pack
from dsetpack.formats.card import Labels
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.integrations.avalanche import ReplayPolicy
from dsetpack.replay import ReplayMemory
from tests.replay.test_memory import arrays, kfs, soft


class Attribute(list):
    """What ``DataAttribute`` is: a sequence with a name."""

    def __init__(self, values, name, use_in_getitem=False):
        super().__init__(values)
        self.name, self.use_in_getitem = name, use_in_getitem


class AvalancheDataset:
    """What ``AvalancheDataset`` does: concatenates datasets, and appends the attributes that are shown."""

    def __init__(self, datasets, data_attributes=()):
        self.datasets, self.attributes = datasets, data_attributes
        for attribute in data_attributes:
            assert len(attribute) == len(self)
            setattr(self, attribute.name, attribute)

    def __len__(self):
        return sum(map(len, self.datasets))

    def __getitem__(self, index):
        shown = [attribute[index] for attribute in self.attributes if attribute.use_in_getitem]
        return (*self.datasets[0][index], *shown)


@pytest.fixture
def avalanche(monkeypatch):
    utils = ModuleType("avalanche.benchmarks.utils")
    utils.DataAttribute, utils.TaskAwareSupervisedClassificationDataset = Attribute, AvalancheDataset
    utils.concat_datasets = AvalancheDataset
    for name, module in {
        "avalanche": ModuleType("avalanche"),
        "avalanche.benchmarks": ModuleType("avalanche.benchmarks"),
        "avalanche.benchmarks.utils": utils,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)


class Experience(SimpleNamespace):
    """One experience: a dataset of (x, y, task label) with a train and an eval transform group."""

    def __init__(self, number, classes, each=10, task_labels=(0,)):
        x, y = arrays(classes, each, seed=number)
        items = [
            (torch.from_numpy(a).float() / 255, int(b), task_labels[n % len(task_labels)])
            for n, (a, b) in enumerate(zip(x, y, strict=True))
        ]
        dataset = SimpleNamespace(eval=lambda: items)
        super().__init__(current_experience=number, dataset=dataset)


def policy_of(max_size=1000, budget="1MB", **options):
    return ReplayPolicy(ReplayMemory(budget, classes=4), max_size, **options)


def test_the_protocol_of_a_storage_policy(avalanche):
    """As ``ReplayPlugin`` uses it: buffer before an experience, update after it."""
    policy = policy_of(max_size=24)
    assert len(policy.buffer) == 0
    for number, classes in enumerate(([0, 1], [2, 3])):
        policy.update(SimpleNamespace(experience=Experience(number, classes)), some="keyword")
        buffer = policy.buffer
        assert policy.buffer is buffer
        assert list(buffer.targets) == policy.memory.targets.tolist()
        assert len(buffer) == len(buffer.targets_task_labels) == len(policy.memory) <= 24
        x, y, t = buffer[len(buffer) - 1]
        assert torch.equal(x, policy.memory.pack.decode([len(buffer) - 1])[0][0])
        assert (y, t) == (buffer.targets[-1], 0)
    assert policy.memory.tasks == ("experience 0", "experience 1")
    assert np.bincount(buffer.targets).tolist() == [6, 6, 6, 6]
    policy.resize(None, 9)
    assert len(policy.buffer) == 9 == policy.max_size
    assert len(buffer) == 24  # one that was handed out stays as it was
    with pytest.raises(AttributeError):
        policy.buffer = buffer


def test_targets_decode_nothing(avalanche, monkeypatch):
    policy = policy_of()
    policy.post_adapt(None, Experience(0, [0, 1]))
    monkeypatch.setattr(Pack, "decode", lambda *_, **__: pytest.fail("decoded"))
    assert len(policy.buffer.targets) == 20


def test_task_labels_are_kept(avalanche):
    policy = policy_of()
    policy.memory.add(kfs([0, 1]).select(classes=0), task="before")
    policy.post_adapt(None, Experience(0, [2], task_labels=(3,)))
    assert set(policy.buffer.targets_task_labels) == {0, 3}
    with pytest.raises(FormatError, match=r"task labels \[1, 2\]"):
        policy.post_adapt(None, Experience(1, [2], task_labels=(1, 2)))


@pytest.mark.parametrize("tensors", [True, False])
def test_a_memory_of_earlier_tasks_collates_with_the_first_experience(avalanche, tensors):
    """The buffer is asked for before the first experience has said how its labels come."""
    before = ReplayMemory("1MB", classes=4)
    before.add_arrays(*arrays([0], 3))
    memory = ReplayMemory.open(before.pack.to_bytes("int8"))
    new = Experience(0, [1]).dataset.eval()
    new = [(x, torch.tensor(y) if tensors else y, t) for x, y, t in new]
    rehearsed = ReplayPolicy(memory, 100).buffer
    x, y, t = default_collate(new[:2] + [rehearsed[n] for n in range(3)])
    assert (x.shape, y.tolist(), t.tolist()) == ((5, 1, 12, 12), [1, 1, 0, 0, 0], [0] * 5)


def test_a_stream_of_many_experiences_forgets_the_oldest(avalanche):
    def last_two(memory, x, y, task):
        if len(memory.tasks) == 2:
            memory.remove(memory.tasks[0])
        memory.add_arrays(x, y, task)

    policy = policy_of(max_size=4, store=last_two)
    for number in range(5):
        policy.post_adapt(None, Experience(number, [0, 1]))
    assert policy.memory.tasks == ("experience 3", "experience 4")
    assert len(policy.buffer) == 4
    policy = policy_of(max_size=4)
    for number in range(2):
        policy.post_adapt(None, Experience(number, [0, 1]))
    with pytest.raises(FormatError, match="ask for more, or remove a task"):
        policy.post_adapt(None, Experience(2, [0, 1]))


def test_images_come_in_a_random_order_that_the_seed_fixes(avalanche):
    found = []
    for seed in (0, 0, 1):
        policy = policy_of(max_size=4, seed=seed)
        policy.post_adapt(None, Experience(0, [0, 1], each=30))
        found.append(policy.memory.pack.decode(range(4))[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_another_way_to_store_and_a_transform(avalanche):
    def flat(memory, x, y, task):
        memory.add(Pack.from_arrays(x[:1], y[:1], classes=4), task=task)

    policy = policy_of(store=flat, transform=lambda x: x + 1)
    policy.post_adapt(None, Experience(0, [1]))
    assert len(policy.buffer) == 1
    assert torch.equal(policy.buffer[0][0], policy.memory.pack.decode([0])[0][0] + 1)


def test_bad_input(avalanche):
    for size in (0, -3, 1.5, None):
        with pytest.raises(FormatError, match="max_size is"):
            policy_of(size)
    policy = policy_of()
    policy.post_adapt(None, Experience(0, [0, 1]))
    before = policy.memory.pack
    with pytest.raises(FormatError, match="'experience 0' is in the memory already"):
        policy.post_adapt(None, Experience(0, [0, 1]))
    with pytest.raises(FormatError, match="has no images"):
        policy.post_adapt(None, Experience(1, [0], each=0))
    with pytest.raises(FormatError, match="1 images do not hold"):
        policy.resize(None, 1)
    policy.max_size = 3
    with pytest.raises(FormatError, match="3 images do not hold"):  # four classes of two experiences
        policy.post_adapt(None, Experience(1, [2, 3]))
    assert policy.memory.tasks == ("experience 0",)
    policy.max_size = 1000
    assert policy.memory.pack is before
    other = policy_of()
    other.memory.add(soft(kfs([0, 1])))
    assert other.memory.pack.card.labels == Labels(kind="soft")
    with pytest.raises(FormatError, match="labels are soft"):
        _ = other.buffer


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_missing_is_named(number, monkeypatch):
    """The policy can be made without Avalanche; the data module is Lightning's own class."""
    for name in ("avalanche", "avalanche.benchmarks", "avalanche.benchmarks.utils", "lightning", "lightning.pytorch",
                 "pytorch_lightning"):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "dsetpack.integrations.lightning", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    if number:
        with pytest.raises(DsetpackError, match="avalanche.*pip install 'avalanche-lib>=0.6'"):
            _ = policy_of().buffer
    else:
        with pytest.raises(DsetpackError, match="lightning.*pip install 'lightning>=2.2'"):
            import dsetpack.integrations.lightning  # noqa: F401


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
    assert not hasattr(alone, "sampler")  # Lightning takes what has one for torch's own
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
    """``reload_dataloaders_every_n_epochs``: as long as memory and new data are the same, so is the loader."""
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
    """``len(module.train_dataloader())`` for a schedule comes before Lightning begins them."""
    pack = Pack.from_arrays(*arrays([2, 3], 6), classes=4)
    memory = ReplayMemory("1MB", classes=4)
    memory.add_arrays(*arrays([0, 1], 6))
    made = module(memory, lambda: pack.loader(4))
    assert len(made.train_dataloader()) == 3
    for name in ("dsetpack.integrations.lightning", "dsetpack.order.sampling"):
        monkeypatch.setattr(f"{name}.rank_and_world", lambda *_: (1, 2))
    assert len(made.train_dataloader()) == 2

"""The protocol of Avalanche with small stand-ins; ``tests/frameworks`` uses the real one."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from dsetpack import Pack
from dsetpack.formats.card import Labels
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.integrations.avalanche import ReplayPolicy
from dsetpack.replay import ReplayMemory
from tests.support.replay_packs import arrays, kfs, soft


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
    assert len(buffer) == 24  # a buffer that was handed out does not change
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
    """The buffer is asked for before the first experience has shown the type of its labels."""
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
    with pytest.raises(FormatError, match="1 image cannot hold"):
        policy.resize(None, 1)
    policy.max_size = 3
    with pytest.raises(FormatError, match="3 images cannot hold"):  # four classes of two experiences
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

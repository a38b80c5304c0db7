"""``ReplayPolicy`` in the real Avalanche: a class-incremental run with ``ReplayPlugin`` on real images."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import TensorDataset

avalanche = pytest.importorskip("avalanche", reason="needs avalanche-lib: .ci/integration installs it")
from avalanche.benchmarks.scenarios.supervised import class_incremental_benchmark
from avalanche.benchmarks.utils import DataAttribute, TaskAwareSupervisedClassificationDataset
from avalanche.benchmarks.utils.data_loader import ReplayDataLoader
from avalanche.training import Naive
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ExemplarsBuffer

import dsetpack
from dsetpack import Normalized, NormalizedSpace, Pack, Raw
from dsetpack.formats.errors import FormatError
from dsetpack.integrations.avalanche import ReplayPolicy
from dsetpack.replay import ReplayMemory
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.networks import network
from dsetpack.trainers.stages import StageData

warnings.filterwarnings("ignore")


def dataset(data, per_class, space):
    index = data.draw(per_class, seed=0)
    x, y = space.apply(data.raw(index)), data.labels[index]
    attributes = [DataAttribute(y.tolist(), "targets"), DataAttribute([0] * len(y), "targets_task_labels", True)]
    return TaskAwareSupervisedClassificationDataset([TensorDataset(x, y)], data_attributes=attributes)


@pytest.fixture(scope="module")
def benchmark():
    return stream(Raw())


def stream(space):
    train, test = load("fashion-sample"), load("fashion-sample", split="test")
    least = int(torch.bincount(test.labels).min())
    sets = {"train": dataset(train, 80, space), "test": dataset(test, min(least, 30), space)}
    return class_incremental_benchmark(sets, num_experiences=5, class_order=list(range(10)))


def run(benchmark, plugins):
    torch.manual_seed(0)
    model = network("convnet3", (1, 28, 28), 10, 16, seed=0)
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), 0.02, momentum=0.9),
        criterion=torch.nn.CrossEntropyLoss(), train_mb_size=32, train_epochs=8, eval_mb_size=100, plugins=plugins,
        evaluator=None,
    )  # fmt: skip
    for experience in benchmark.train_stream:
        strategy.train(experience, num_workers=0)
    model.eval()
    right = [
        (model(torch.stack([item[0] for item in e.dataset])).argmax(1) == torch.tensor([item[1] for item in e.dataset]))
        for e in benchmark.test_stream
    ]
    return torch.cat([r.float() for r in right]).mean().item()


def test_it_has_what_an_exemplars_buffer_has():
    for name in ("update", "post_adapt", "resize", "buffer"):
        assert hasattr(ReplayPolicy, name)
        assert hasattr(ExemplarsBuffer, name)


def test_a_whole_class_incremental_run(benchmark):
    names = load("fashion-sample").classes
    memory = ReplayMemory("60kB", classes=names)
    policy = ReplayPolicy(memory, max_size=300)
    found = run(benchmark, [ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)])
    assert memory.tasks == tuple(f"experience {n}" for n in range(5))
    assert len(memory) <= 300
    assert memory.bytes <= 60_000
    counts = [n for task in memory.counts().values() for n in task.values()]
    assert len(counts) == 10
    assert max(counts) - min(counts) <= 1
    alone = run(benchmark, [])
    print(f"with the memory {found:.1%}, without {alone:.1%}")
    assert alone < 0.3  # it forgets all but the last classes
    assert found > alone + 0.2


def test_a_run_that_distills(tmp_path):
    """Each experience becomes codes on the first one's decoders, in the space of its images."""
    names, space = load("fashion-sample").classes, Normalized(NormalizedSpace(mean=(0.286,), std=(0.353,)))
    small = {
        "parameterization.pretrain.steps": 40, "schedule.steps": 10, "objective.networks": 2, "objective.width": 8,
    }  # fmt: skip

    def distill(memory, x, y, task):
        raw = (255 * memory.space.invert(x)).round().to(torch.uint8)
        memory.add_stage(
            StageData(ImageData(raw, y, names, task)), "kfs-cpu", task=task, settings=small, cache=tmp_path
        )

    memory = ReplayMemory("60kB", classes=names, space=space)
    policy = ReplayPolicy(memory, max_size=2000, store=distill)
    run(stream(space), [ReplayPlugin(mem_size=2000, storage_policy=policy)])
    assert len(memory.tasks) == 5
    assert len({id(part.decoder) for part in memory.pack.parts}) == 1
    assert len(policy.buffer) == len(memory)
    assert memory.pack.card.space == space.model


def test_the_buffer_in_avalanches_own_loader(benchmark):
    memory = ReplayMemory("60kB", classes=10)
    policy = ReplayPolicy(memory, max_size=100)
    assert len(policy.buffer) == 0
    first, second, *_ = benchmark.train_stream
    policy.post_adapt(None, first)
    buffer = policy.buffer
    assert list(buffer.targets) == memory.targets.tolist()
    assert set(buffer.targets_task_labels) == {0}
    assert len(buffer.subset([0, 1]).concat(buffer.subset([2]))) == 3
    x, y, t = buffer[3]
    assert (x.shape, y, t) == ((1, 28, 28), int(memory.targets[3]), 0)
    assert torch.equal(x, memory.pack.decode([3])[0][0])
    for balanced in (False, True):
        loader = ReplayDataLoader(
            second.dataset, buffer, batch_size=8, batch_size_mem=8, task_balanced_dataloader=balanced
        )
        x, y, _ = next(iter(loader))
        assert x.shape == (16, 1, 28, 28)
        assert set(y[8:].tolist()) <= set(memory.targets.tolist())
    with pytest.raises(FormatError, match="'experience 0' is in the memory already"):
        policy.update(type("Strategy", (), {"experience": first}))
    policy.resize(None, 20)
    assert policy.max_size == 20 >= len(policy.buffer) == len(memory)
    with pytest.raises(AttributeError):
        policy.buffer = buffer
    assert dsetpack.__version__


@pytest.mark.parametrize("tensors", [True, False])
def test_a_reopened_memory_is_rehearsed_from_the_first_batch(tensors):
    """Before the policy has seen an experience it does not know whether labels come as tensors or as numbers."""
    data = load("fashion-sample")
    index = data.draw(10, seed=0)
    x, y = data.raw(index), data.labels[index]
    own = TensorDataset(x, y) if tensors else Pack.from_arrays(x, y, classes=10).dataset()
    attributes = [DataAttribute(y.tolist(), "targets"), DataAttribute([0] * len(y), "targets_task_labels", True)]
    sets = TaskAwareSupervisedClassificationDataset([own], data_attributes=attributes)
    streams = class_incremental_benchmark({"train": sets, "test": sets}, num_experiences=5, class_order=list(range(10)))
    before = ReplayPolicy(ReplayMemory("60kB", classes=10), max_size=50)
    before.post_adapt(None, streams.train_stream[0])
    policy = ReplayPolicy(ReplayMemory.open(before.memory.pack.to_bytes("int8"), budget="60kB"), max_size=50)
    model = network("convnet3", (1, 28, 28), 10, 8, seed=0)
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), 0.02), criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=8, train_epochs=1, plugins=[ReplayPlugin(mem_size=50, storage_policy=policy)], evaluator=None,
    )  # fmt: skip
    strategy.train(streams.train_stream[1], num_workers=0)
    assert policy.memory.tasks == ("experience 0", "experience 1")

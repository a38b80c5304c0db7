"""What a memory costs, what goes when that is too much, and how much work that is."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack import FormatError, Pack
from dsetpack.formats.compression import Pipeline
from dsetpack.formats.notices import Notice
from dsetpack.replay import ReplayMemory
from dsetpack.trainers.data import load
from tests.support.real_data import DATA, full
from tests.support.replay_packs import SHAPE, arrays, haba, kfs, pack_of

CLASSES = 5
Spans = st.lists(st.dictionaries(st.integers(0, CLASSES - 1), st.integers(1, 9), min_size=1), min_size=1, max_size=4)


def noise(counts: dict[int, int], seed: int) -> Pack:
    """Images of noise, which hardly compress; the first pixel numbers the images of a class."""
    g = np.random.default_rng(seed)
    labels = g.permutation(np.repeat(list(counts), list(counts.values())))
    x = g.integers(0, 256, (len(labels), *SHAPE), dtype=np.uint8)
    for label in counts:
        x[labels == label, 0, 0, 0] = np.arange((labels == label).sum())
    return Pack.from_arrays(x, labels, classes=CLASSES)


def kept(memory: ReplayMemory) -> dict[tuple[int, int], list[int]]:
    """The images that are left of each task and class, by the number in their first pixel."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    x, y = memory.pack.decode(range(len(memory)))
    numbers = (x[:, 0, 0, 0] * 255).round().int().tolist()
    for number, label, task in zip(numbers, y.tolist(), memory.task_of.tolist(), strict=True):
        found[task, label].append(number)
    return found


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(spans=Spans, budget=st.integers(4000, 12000), balance=st.sampled_from(["class", "task"]), seed=st.integers(0, 9))
def test_whatever_comes_the_file_fits_and_the_last_picked_went(spans, budget, balance, seed):
    memory = ReplayMemory(budget, balance=balance)
    added: list[dict[int, int]] = []
    for number, counts in enumerate(spans):
        before = memory.tasks, memory.bytes
        try:
            memory.add(noise(counts, seed + number))
        except FormatError:  # not even one of each fits
            assert (memory.tasks, memory.bytes) == before
            break
        added.append(counts)
        assert memory.bytes <= budget
    if not added:
        return
    found = kept(memory)
    assert set(found) == {(task, label) for task, counts in enumerate(added) for label in counts}
    for (task, label), numbers in found.items():
        assert numbers == list(range(len(numbers)))  # in the order of selection; the last ones were dropped
        assert 1 <= len(numbers) <= added[task][label]
    assert memory.targets.tolist() == memory.pack.labels.tolist()
    assert memory.bytes == len(memory.pack.to_bytes("int8"))
    check_balance(found, added, balance)


def check_balance(found, added, balance):
    """A class (or task) that lost a source had as many as any other that could have lost one."""
    totals, lost, free = Counter(), set(), set()
    for (task, label), numbers in found.items():
        unit = label if balance == "class" else task
        totals[unit] += len(numbers)
        if len(numbers) < added[task][label]:
            lost.add(unit)
        if len(numbers) > 1:
            free.add(unit)
    for unit in lost:
        assert all(totals[unit] + 1 >= totals[other] for other in free), (found, added)


def test_balance_by_class_and_by_task():
    """Class 0 is in both tasks, class 1 in one."""
    found = {}
    for balance in ("class", "task"):
        memory = ReplayMemory(8000, classes=2, balance=balance)
        memory.add_arrays(*arrays([0, 1], 40))
        memory.add_arrays(*arrays([0], 40, seed=1))
        found[balance] = [list(counts.values()) for counts in memory.counts().values()]
    (first, second), third = found["class"][0], found["class"][1][0]
    assert abs(first + third - second) <= 1
    assert abs(first - third) <= 1
    (first, second), third = found["task"][0], found["task"][1][0]
    assert abs(first + second - third) <= 1
    assert abs(first - second) <= 1


def check_saved(memory, path):
    """What the memory holds and counts is what its file holds and takes."""
    images, counts, size = len(memory), memory.counts(), memory.bytes
    assert size <= memory.budget
    assert memory.save(path) == memory.bytes == path.stat().st_size == size
    again = ReplayMemory.open(path)
    assert (len(memory), memory.counts()) == (images, counts) == (len(again), again.counts())
    assert again.bytes == size


@pytest.mark.parametrize("encoding", ["exact", "f16", "int8", "int4"])
def test_what_is_counted_is_what_is_written(encoding, tmp_path):
    """Codes on one bank, codes and images, several banks in one dataset."""
    for packs in (
        [kfs([0, 0, 1]), kfs([2, 3, 3]), kfs([1])],
        [kfs([0, 1]), Pack.from_arrays(*arrays([2, 3], 30), classes=4)],
        [haba([0, 1]), haba([2], seed=1), haba([3, 3], seed=2)],
    ):
        memory = ReplayMemory("1MB", encoding=encoding)
        for pack in packs:
            memory.add(pack)
            check_saved(memory, tmp_path / "x.dpk")


def small(draw, seed):
    """One more task: codes on the same decoders, codes with decoders of their own, or images."""
    labels = draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    if (kind := draw(st.sampled_from(["kfs", "other kfs", "noise", "flat"]))).endswith("kfs"):
        return kfs(labels, seed=seed if kind == "other kfs" else 0)
    x = arrays(labels, 1, seed)[0]
    return Pack.from_arrays(x if kind == "noise" else x // 64, labels, classes=4)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    data=st.data(), encoding=st.sampled_from(["exact", "f16", "int8", "int4"]),
    balance=st.sampled_from(["class", "task"]), budget=st.integers(6000, 14000),
)  # fmt: skip
def test_whatever_is_done_saving_keeps_what_there_is(tmp_path_factory, data, encoding, balance, budget):
    memory = ReplayMemory(budget, encoding=encoding, classes=4, balance=balance)
    path = tmp_path_factory.mktemp("memory") / "x.dpk"
    for seed in range(data.draw(st.integers(1, 6))):
        act = data.draw(st.sampled_from(["add", "add", "add", "remove", "keep_images", "resize", "save"]))
        try:
            if act == "add" or not memory.tasks:
                memory.add(small(data.draw, seed), task=f"task {seed}")
            elif act == "remove":
                memory.remove(data.draw(st.sampled_from(memory.tasks)))
            elif act == "keep_images":
                memory.keep_images(data.draw(st.integers(1, 1 + len(memory))))
            elif act == "resize":
                memory.resize(data.draw(st.integers(5000, 16000)))
            else:
                memory.save(path)
        except FormatError as error:
            assert "one source of each class" in str(error)  # noqa: PT017
        if memory.tasks:
            assert memory.bytes == len(memory.pack.to_bytes(encoding)) or act == "save"
            if data.draw(st.booleans()):
                check_saved(memory, path)


def test_a_bank_counts_once():
    pack = pack_of("kfs", {"decoders": 60, "channels": (2, 3), "kernel": 4}, [0, 1, 2, 3])
    one, two = ReplayMemory(encoding="exact"), ReplayMemory(encoding="exact")
    one.add(pack)
    two.add(pack.select(classes=[0, 1]))
    two.add(pack.select(classes=[2, 3]))
    assert one.bytes > 25_000
    assert two.bytes - one.bytes < 3000


def test_what_add_keeps_save_keeps_where_sources_compress_worse_than_expected(tmp_path):
    """The first images are noise, the later ones flat: what is left costs more per image than the mean."""
    x, y = arrays([0, 1], 60)
    x[10:60], x[70:] = 7, 9
    memory = ReplayMemory(4000, classes=2)
    memory.add_arrays(x, y)
    check_saved(memory, tmp_path / "x.dpk")
    assert memory.bytes > 4000 - 200  # one more image of noise takes 144
    again = ReplayMemory.open(tmp_path / "x.dpk")
    assert torch.equal(again.pack.decode(range(len(again)))[0], memory.pack.decode(range(len(memory)))[0])


@full
@pytest.mark.data
def test_real_images_fill_the_budget_and_stay(tmp_path):
    """As from folders of images, task by task: 460 images were counted where the file took 456."""
    data = load("fashion-mnist", DATA)
    memory = ReplayMemory("200 kB", classes=data.classes)
    for task in range(5):
        index = torch.cat([data.of_class(label)[:60] for label in (2 * task, 2 * task + 1)])
        memory.add_arrays(data.images[index], data.labels[index])
        assert memory.bytes == len(memory.pack.to_bytes("int8"))
    assert memory.bytes > 0.98 * memory.budget
    check_saved(memory, tmp_path / "x.dpk")


def test_the_first_loss_is_said(tmp_path):
    memory = ReplayMemory(9000, classes=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        memory.add_arrays(*arrays([0, 1], 20))
    with pytest.warns(Notice, match=r"a budget of 9,000 bytes holds \d+ of 80 sources: .*raise the budget") as told:
        memory.add_arrays(*arrays([2, 3], 20))
    assert len(told) == 1
    assert f" {len(memory)} of 80" in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        memory.add_arrays(*arrays([0], 20))  # a full memory is expected to drop
        memory.save(tmp_path / "x.dpk")
        ReplayMemory.open(tmp_path / "x.dpk")
    with pytest.warns(Notice, match="a budget of 6,000 bytes holds"):
        ReplayMemory.open(tmp_path / "x.dpk", budget=6000)


class Work:
    """Counts the bytes that are compressed."""

    def __init__(self, monkeypatch):
        self.bytes = 0
        encode = Pipeline.encode

        def counting(pipeline, data, expected=None):
            self.bytes += len(data)
            return encode(pipeline, data, expected)

        monkeypatch.setattr(Pipeline, "encode", counting)

    def of(self, act):
        self.bytes = 0
        act()
        return self.bytes


@pytest.mark.parametrize("budget", ["10MB", "60kB"])
def test_adding_is_the_work_of_its_own_stage(budget, monkeypatch, tmp_path):
    """What is there and stays is not compressed again. If all stages give up sources, what is left is, a few times."""
    memory, work = ReplayMemory(budget, classes=4), Work(monkeypatch)
    first = work.of(lambda: memory.add_arrays(*arrays([0, 1], 60)))
    assert first >= 120 * 144
    later = [work.of(lambda n=n: memory.add_arrays(*arrays([n % 4], 120, seed=n))) for n in range(1, 12)]
    left = work.of(lambda: memory.pack.to_bytes("int8"))
    assert max(later) < 1.5 * first + (3 * left if budget == "60kB" else 0)
    assert (memory.bytes > 55_000) == (budget == "60kB" or memory.bytes > 120_000)
    assert work.of(lambda: memory.save(tmp_path / "x.dpk")) == 0


def test_a_change_of_the_budget_compresses_only_what_loses(monkeypatch):
    memory, work = ReplayMemory("1MB", classes=4), Work(monkeypatch)
    memory.add_arrays(*arrays([0, 1], 60))
    memory.add_arrays(*arrays([2], 10))
    assert work.of(lambda: memory.resize("2MB")) == 0
    assert work.of(lambda: memory.remove(0)) == 0
    memory.add_arrays(*arrays([0, 1], 60), task="again")
    first = memory.pack.parts[0]
    memory.resize(12_000)
    assert memory.bytes <= 12_000
    assert memory.pack.parts[0] is first  # class 2 has the fewest images and keeps them

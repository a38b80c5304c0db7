"""What a memory costs, what goes when that is too much, and how much work that is."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack import FormatError, Pack
from dsetpack.formats import Reader
from dsetpack.formats.encodings.zstd import ZstdFrame
from dsetpack.replay import ReplayMemory
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
    data = memory.pack.to_bytes("int8")
    size, room = len(data), Reader(data).header.user_block  # counted twice if the manifest nearly fills it
    assert -0.03 * size - 64 <= memory.bytes - size <= 0.03 * size + 64 + room
    if all(len(found[task, label]) == n for task, counts in enumerate(added) for label, n in counts.items()):
        assert -64 <= memory.bytes - size <= 64 or abs(memory.bytes - size - room) <= 64  # nothing dropped: exact
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


@pytest.mark.parametrize("encoding", ["exact", "f16", "int8", "int4"])
def test_what_is_counted_is_what_is_written(encoding, tmp_path):
    """Codes on one bank, codes and images, several banks: nothing is dropped, so the count is exact up to rounding."""
    for packs, slack in (
        ([kfs([0, 0, 1]), kfs([2, 3, 3]), kfs([1])], 32),
        ([kfs([0, 1]), Pack.from_arrays(*arrays([2, 3], 30), classes=4)], 32),
        ([haba([0, 1]), haba([2], seed=1), haba([3, 3], seed=2)], 400),  # banks of one type share a dataset
    ):
        memory = ReplayMemory("1MB", encoding=encoding)
        for pack in packs:
            memory.add(pack)
        counted = memory.bytes
        assert abs(memory.save(tmp_path / "x.dpk") - counted) <= slack
        assert memory.bytes == (tmp_path / "x.dpk").stat().st_size


def test_a_bank_counts_once():
    pack = pack_of("kfs", {"decoders": 60, "channels": (2, 3), "kernel": 4}, [0, 1, 2, 3])
    one, two = ReplayMemory(encoding="exact"), ReplayMemory(encoding="exact")
    one.add(pack)
    two.add(pack.select(classes=[0, 1]))
    two.add(pack.select(classes=[2, 3]))
    assert one.bytes > 25_000
    assert two.bytes - one.bytes < 3000


def test_saving_drops_more_where_sources_compress_worse_than_counted(tmp_path):
    """The first images are noise, the later ones flat: what is left costs more per image than the mean."""
    x, y = arrays([0, 1], 60)
    x[10:60], x[70:] = 7, 9
    memory = ReplayMemory(4000, classes=2)
    memory.add_arrays(x, y)
    images = len(memory)
    assert len(memory.pack.to_bytes("int8")) > 4000
    size = memory.save(tmp_path / "x.dpk")
    assert size <= 4000
    assert len(memory) < images
    assert memory.bytes == size
    again = ReplayMemory.open(tmp_path / "x.dpk")
    assert torch.equal(again.pack.decode(range(len(again)))[0], memory.pack.decode(range(len(memory)))[0])


class Work:
    """Counts the bytes that are compressed."""

    def __init__(self, monkeypatch):
        self.bytes = 0
        encode = ZstdFrame.encode

        def counting(codec, data):
            self.bytes += len(data)
            return encode(codec, data)

        monkeypatch.setattr(ZstdFrame, "encode", counting)

    def of(self, act):
        self.bytes = 0
        act()
        return self.bytes


@pytest.mark.parametrize("budget", ["10MB", "60kB"])
def test_adding_is_the_work_of_its_own_stage(budget, monkeypatch):
    """What is there already is not encoded again, even if all stages give up sources."""
    memory, work = ReplayMemory(budget, classes=4), Work(monkeypatch)
    first = work.of(lambda: memory.add_arrays(*arrays([0, 1], 60)))
    assert first >= 120 * 144
    later = [work.of(lambda n=n: memory.add_arrays(*arrays([n % 4], 120, seed=n))) for n in range(1, 12)]
    assert max(later) < 1.5 * first
    assert (memory.bytes > 55_000) == (budget == "60kB" or memory.bytes > 120_000)


def test_a_change_of_the_budget_encodes_nothing(monkeypatch):
    memory, work = ReplayMemory("1MB", classes=4), Work(monkeypatch)
    memory.add_arrays(*arrays([0, 1], 60))
    assert work.of(lambda: memory.resize(12_000)) == 0
    assert memory.bytes <= 12_000

"""A memory's file: what comes back, what is refused, and what a crash leaves."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dsetpack
from dsetpack import DsetpackError, FormatError, Pack, Zca
from dsetpack.replay import ReplayMemory
from tests.support.processes import python
from tests.support.replay_packs import arrays, generator, haba, kfs, memory_of, state

MAKERS = {
    "kfs": lambda labels, seed: kfs(labels),
    "haba": lambda labels, seed: haba(labels, seed=seed),
    "images": lambda labels, seed: Pack.from_arrays(arrays(labels, 1, seed)[0], labels, classes=4),
}


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    kinds=st.lists(st.sampled_from([("kfs", "images"), ("haba", "images")]), min_size=1, max_size=1).flatmap(
        lambda pair: st.lists(st.sampled_from(pair[0]), min_size=1, max_size=4)
    ),
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    encoding=st.sampled_from(["exact", "f16", "int8", "int4"]),
    balance=st.sampled_from(["class", "task"]),
    names=st.sets(st.text(min_size=1, max_size=8), min_size=4, max_size=4),
)
def test_round_trip(tmp_path_factory, kinds, labels, encoding, balance, names):
    memory = ReplayMemory("300 kB", encoding=encoding, balance=balance)
    for seed, (kind, name) in enumerate(zip(kinds, sorted(names), strict=False)):
        memory.add(MAKERS[kind](labels, seed), task=name)
    path = tmp_path_factory.mktemp("memory") / "x.dpk"
    size = memory.save(path)
    again = ReplayMemory.open(path)
    assert path.stat().st_size == size == again.bytes == memory.bytes
    assert (again.tasks, again.budget, again.counts()) == (memory.tasks, memory.budget, memory.counts())
    assert torch.equal(again.targets, memory.targets)
    assert torch.equal(again.task_of, memory.task_of)
    assert len({id(p.decoder) for p in again.pack.parts}) == len({id(p.decoder) for p in memory.pack.parts})
    found, expected = (m.pack.decode(range(len(m)))[0] for m in (again, memory))
    assert (found - expected).abs().max() <= {"exact": 0, "f16": 0}.get(encoding, 0.3) * max(1, expected.abs().max())
    plain = dsetpack.open(path, verify="all")  # any reader of packs reads it
    assert [part.stage for part in plain.parts] == sorted(part.stage for part in plain.parts)
    dsetpack.verify(path, hdf5=False)
    again.add(MAKERS["images"]([0], 9), task="one more")
    assert again.tasks == (*memory.tasks, "one more")


def test_the_file_says_which_task_a_stage_is(tmp_path):
    memory = memory_of([kfs([0, 1]), kfs([2])], balance="task")
    memory.save(tmp_path / "x.dpk")
    card = dsetpack.open(tmp_path / "x.dpk").card
    assert card.extra["replay"] == {
        "budget": 1_000_000, "encoding": "int8", "balance": "task", "tasks": ["task 0", "task 1"],
        "classes": hashlib.sha256(b"[[0, 1], [2]]").hexdigest()[:16],
    }  # fmt: skip


def test_an_embedded_space_is_kept_and_counted(tmp_path):
    zca = Zca.fit(torch.from_numpy(arrays([0], 200)[0]))
    memory = ReplayMemory(space=zca, classes=4)
    memory.add_arrays(*arrays([0, 1], 5))
    assert memory.bytes > 144 * 144 * 3
    counted = memory.bytes
    assert abs(memory.save(tmp_path / "x.dpk") - counted) < 64
    again = ReplayMemory.open(tmp_path / "x.dpk")
    assert torch.equal(again.pack.decode(range(10))[0], memory.pack.decode(range(10))[0])
    again.add_arrays(*arrays([2], 3))
    assert abs(len(again.pack.to_bytes("int8")) - again.bytes) < 64


def test_any_pack_can_be_opened_as_a_memory(tmp_path):
    whole = kfs([0, 0, 1, 2])
    Pack.merge(whole.select(classes=[0, 1]), whole.select(classes=2)).save(tmp_path / "x.dpk")
    with pytest.raises(FormatError, match=r"x\.dpk: no memory wrote this file.*pass budget="):
        ReplayMemory.open(tmp_path / "x.dpk")
    memory = ReplayMemory.open(tmp_path / "x.dpk", budget="1MB", encoding="exact")
    assert memory.tasks == ("0", "1")
    memory.add(kfs([3]), task="new")
    assert len({id(part.decoder) for part in memory.pack.parts}) == 1


@pytest.mark.parametrize("per_class", [None, 2])
def test_a_generator_is_no_memory(per_class):
    pack = generator()
    data = Pack(pack.card.replace(per_class=per_class), pack.parts).to_bytes()
    with pytest.raises(FormatError, match="part 0 is a generator, which draws its images"):
        ReplayMemory.open(data, budget="1MB")


@pytest.mark.parametrize("encoding", ["int8", "int4"])
def test_a_saved_memory_goes_on_as_the_file_does(encoding, tmp_path):
    """Also if the dropped sources held the ends of the range, so that the rest gets other codes."""
    changed = []
    for seed in range(4):
        memory = ReplayMemory("1MB", encoding=encoding)
        memory.add(kfs([0] * 20 + [1] * 20, seed=seed))
        memory.keep_images(30)
        before = memory.pack.parts[0].sources
        memory.save(tmp_path / "x.dpk")
        again = ReplayMemory.open(tmp_path / "x.dpk")
        assert torch.equal(memory.pack.parts[0].sources, again.pack.parts[0].sources)
        changed.append(not torch.equal(before, again.pack.parts[0].sources))
        x, y = next(iter(memory.mix(memory.loader(4, seed=1), seed=2)))
        z, w = next(iter(again.mix(again.loader(4, seed=1), seed=2)))
        assert torch.equal(x, z)
        assert torch.equal(y, w)
        memory.save(tmp_path / "y.dpk")
        assert (tmp_path / "y.dpk").read_bytes() == (tmp_path / "x.dpk").read_bytes()
    assert any(changed)


def test_another_budget_on_opening(tmp_path):
    memory = ReplayMemory("1MB", classes=4)
    memory.add_arrays(*arrays([0, 1], 50))
    memory.save(tmp_path / "x.dpk")
    small = ReplayMemory.open(tmp_path / "x.dpk", budget="8kB")
    assert small.bytes <= 8000 == small.budget
    with pytest.raises(FormatError, match="does not hold one source"):
        ReplayMemory.open(tmp_path / "x.dpk", budget=1000)


def test_damaged_files_are_refused(tmp_path):
    memory_of([kfs([0, 1])]).save(tmp_path / "x.dpk")
    data = bytearray((tmp_path / "x.dpk").read_bytes())
    data[-3] ^= 1
    with pytest.raises(DsetpackError):
        ReplayMemory.open(bytes(data))


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_save_leaves_file_and_memory_as_they_were(broken, tmp_path, monkeypatch):
    path = tmp_path / "x.dpk"
    memory = memory_of([kfs([0, 1])])
    memory.save(path)
    data = path.read_bytes()
    memory.add(kfs([2]), task="more")
    before = state(memory)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        memory.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["x.dpk"]
    assert state(memory)[:3] == before[:3]
    memory.save(path)
    assert ReplayMemory.open(path).tasks == ("task 0", "more")


KILLER = """
import json, sys, pathlib
import torch
from benchmarks.measure import kill
torch.set_num_threads(1)
from dsetpack.replay import ReplayMemory
from tests.support.replay_packs import arrays
memories = []
for version in range(2):
    memory = ReplayMemory("1MB", classes=4)
    memory.add_arrays(*arrays([0, 1, 2], 300, seed=version))
    memories.append(memory)
save = lambda path, version: memories[version].save(path)
print(json.dumps(kill.kill_test(save, 12, pathlib.Path(sys.argv[1]))))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_in_the_middle_of_a_save_leaves_the_old_file_or_the_new_one(tmp_path):
    (tmp_path / "memory").mkdir()
    found = json.loads(python(KILLER, tmp_path / "memory").splitlines()[-1])
    assert found["kills"] == 12
    assert found["broken"] == 0
    assert found["old"] > 0
    assert found["files_after_the_next_save"] == ["x.dpk"]


def test_another_encoding_counts_at_once(tmp_path):
    memory = memory_of([haba([0, 1, 2, 3] * 10)], budget=10_000)
    memory.save(tmp_path / "x.dpk")
    again = ReplayMemory.open(tmp_path / "x.dpk", encoding="exact")
    held = len(again)
    assert 0 < held < len(memory)
    assert again.save(tmp_path / "y.dpk") <= 10_000
    assert len(again) == held
    with pytest.raises(FormatError, match="does not hold one source"):
        ReplayMemory.open(tmp_path / "x.dpk", encoding="exact", budget=3_000)
    memory.pack.save(tmp_path / "z.dpk")  # exact, while its notes say int8
    assert len(ReplayMemory.open(tmp_path / "z.dpk")) == len(memory)

"""The notes in a memory's file: damaged ones, and those of another pack."""

from __future__ import annotations

import pytest
import torch

from dsetpack import FormatError, Pack
from dsetpack.replay import ReplayMemory
from tests.support.replay_packs import arrays, kfs, memory_of


def test_what_was_selected_or_merged_from_a_memory_is_opened_with_a_budget(tmp_path):
    memory = memory_of([kfs([0, 0, 1]), kfs([2, 3])])
    for pack, tasks in ((memory.pack.select(parts=[1]), ("1",)), (Pack.merge(memory.pack, memory.pack), None)):
        data = pack.to_bytes("int8")
        with pytest.raises(FormatError, match="2 tasks for . stages?: the pack is no longer what .*; pass budget="):
            ReplayMemory.open(data)
        again = ReplayMemory.open(data, budget="1MB")
        assert torch.equal(again.targets, pack.labels)
        assert tasks in (None, again.tasks)
        again.save(tmp_path / "x.dpk")
        assert ReplayMemory.open(tmp_path / "x.dpk").tasks == again.tasks


def test_tasks_are_not_called_by_names_of_others():
    """The pack has as many stages as the notes name, but of other classes."""
    memory = ReplayMemory(classes=4)
    memory.add(Pack.from_arrays(*arrays([0], 2), classes=4), task="cats")
    memory.add(Pack.from_arrays(*arrays([1], 2), classes=4), task="dogs")
    other = Pack.from_arrays(*arrays([2], 2), classes=4)
    data = Pack.merge(memory.pack.select(parts=[1]), other).to_bytes("int8")
    with pytest.raises(FormatError, match="2 tasks for 2 stages of other classes: the pack is no longer"):
        ReplayMemory.open(data)
    assert ReplayMemory.open(data, budget="1MB").counts() == {"1": {"1": 2}, "2": {"2": 2}}


@pytest.mark.parametrize(
    "notes",
    [
        {"budget": -1, "tasks": ["a"]},
        {"budget": 1000000, "tasks": []},
        {"budget": 1000000, "tasks": ["a", "b"]},
        {"budget": 1000000, "tasks": ["a", "a"]},
        {"budget": 1000000, "tasks": ["a"], "classes": "0"},
        {"budget": 1000000, "tasks": [""]},
        {"budget": 1000000, "tasks": ["a"], "encoding": "int3"},
        {"budget": 1000000, "tasks": ["a"], "luck": 1},
        {"tasks": ["a"]},
    ],
)
def test_damaged_notes_are_refused(notes):
    data = kfs([0, 1]).replace_card(extra={"replay": notes}).to_bytes()
    with pytest.raises(FormatError, match=r"card\.extra\.replay"):
        ReplayMemory.open(data)

"""The benchmark's straightforward implementations compute what dsetpack computes, or their times say nothing."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import precision
from benchmarks.cases.objective_sizes import SIZES
from benchmarks.cases.objectives import ROWS, set_up
from benchmarks.measure import objectives
from benchmarks.memory import Memory
from dsetpack.trainers.data.registry import load
from dsetpack.trainers.objectives import dm

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def groups_of_classes(one_thread, monkeypatch):
    monkeypatch.setattr(dm, "TOGETHER", {"cpu": 5})  # as many as with sets of real size


@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_the_same(name):
    """Two steps in double precision; real means are kept in float32."""
    assert objectives.check(name, CPU) < (1e-6 if name.endswith("all real images") else 1e-12)


@pytest.mark.parametrize("name", ["KFS × DM, real batch", "images × DC", "HaBa × MTT, min-max", "generator, GAN"])
def test_other_draws_give_other_gradients(name, tmp_path, monkeypatch):
    """What is compared depends on what is drawn: equality is no accident."""
    with objectives.double():
        method = set_up(name, SIZES["tiny"], CPU, tmp_path)
        peer = method.peer()
        backward = peer.backward
        monkeypatch.setattr(peer, "backward", lambda number, drawn: backward(number + 10, drawn.manual_seed(1)))
        assert objectives.difference(method, peer) > 0.01


@pytest.mark.parametrize(
    "name", ["KFS × DM, real batch", "images × DC", "IDC", "HaBa × MTT, min-max", "images × FRePo", "generator, GAN"]
)
def test_sets_stay_together(name, tmp_path):
    """Both sides take whole steps: after some, with optimisers and inner networks, their gradients still agree."""
    with objectives.double():
        method = set_up(name, SIZES["tiny"], CPU, tmp_path)
        peer = method.peer()
        taken = objectives.alternate(method, peer, CPU, rounds=3, seconds=60)
        assert [len(taken[side]) for side in objectives.SIDES] == [3, 3]
        assert objectives.difference(method, peer, 4) < 1e-7


def test_memory_counts_what_is_live_at_most():
    memory = Memory(CPU)
    memory.begin()
    if memory.peak() is None:
        pytest.skip("this system does not tell a process its peak")
    block = torch.ones(64 << 20)  # so large that no memory freed before can hold it
    del block
    assert memory.peak() >= 240 << 20


@pytest.mark.slow
def test_what_bfloat16_does_to_the_loss_is_measured():
    whole = load("fashion-sample")
    index = torch.cat([whole.of_class(label)[:5] for label in range(10)])
    found = precision.effect("dm", whole.take(index), steps=2)
    assert found["tf32"] == precision.NOT_MEASURED
    assert found["float32"]["change"] == 0 != found["bf16"]["change"]
    assert abs(found["bf16"]["change"]) < 0.05
    assert [line.split(":")[0] for line in precision.effect_lines({"dm": found})] == [
        f"dm, {exact}" for exact in ("float32", "tf32", "bf16")
    ]

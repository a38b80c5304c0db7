"""Coarser products: every pair works in bfloat16, learned values stay float32, and the setting is undone."""

from __future__ import annotations

import pytest
import torch

from dsetpack.trainers.arithmetic import current, precision
from dsetpack.trainers.job import Job
from dsetpack.trainers.loop import Run
from dsetpack.trainers.matches import pairs
from tests.support.tiny_methods import real, tiny

CPU = torch.device("cpu")
GAME = {"adversary": {"width": 4}}
VARIANTS = [
    *((objective, on, {}) for objective, on in pairs()),
    ("dm", "kfs", {"parameterization.kernel": 4, "parameterization.channels": [3, 2]}),
    ("mtt", "haba", GAME | {"parameterization.factor": 2}),
    ("dm", "haba", GAME),
    ("dm", "images", {"objective.real_batch": 16, "objective.drop": 0.2}),
]


@pytest.mark.parametrize(
    ("objective", "on", "changes"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "+".join(v)
)
def test_steps_in_bfloat16(tmp_path, objective, on, changes):
    sets = []
    for exact in ("float32", "bf16"):
        chosen = tiny(tmp_path, objective, on, {**changes, "schedule.steps": 2, "precision": exact})
        job = Job.of(chosen, cache=tmp_path / "cache", run=Run(show=False))
        sets.append(job.learn(job.context(real())).synthetic.state_dict())
        assert current(CPU) == "float32"
    for name, value in sets[1].items():
        assert value.dtype == sets[0][name].dtype, name
        assert bool(value.isfinite().all())
    assert any(not torch.equal(value, sets[0][name]) for name, value in sets[1].items())


def test_current_says_what_there_is():
    for exact, found in (("float32", "float32"), ("tf32", "float32"), ("bf16", "bf16")):  # a CPU has no tf32
        with precision(exact, CPU):
            assert current(CPU) == found
    with precision("tf32", CPU):
        assert current(torch.device("cuda")) == "tf32"
    with precision("float32", CPU):
        assert current(torch.device("cuda")) == "float32"

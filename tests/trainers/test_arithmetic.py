"""Coarser products: every pair works in bfloat16, learned values stay float32, and the setting is undone."""

from __future__ import annotations

import json
import os

import pytest
import torch

from dsetpack.trainers.arithmetic import current, precision
from dsetpack.trainers.job import Job
from dsetpack.trainers.loop import Run
from dsetpack.trainers.matches import pairs
from tests.support.processes import python
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


USED = """
import json, os, sys
import torch
from dsetpack.trainers.arithmetic import current, precision
b = torch.backends
places = (b.cuda.matmul, b.cudnn.conv, b.mkldnn.matmul, b.mkldnn.conv)
read = lambda: [place.fp32_precision for place in places]
def legacy():
    try:
        return b.cuda.matmul.allow_tf32, b.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:
        return "torch refuses"
for setting in sys.argv[1:]:
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    exec(setting)
    found = {"outside": (read(), legacy())}
    for name in ("float32", "tf32", "bf16"):
        with precision(name, torch.device("cpu")):
            found[name] = read(), current(torch.device("cuda"))
    found["after"] = read(), legacy()
    print(json.dumps(found), flush=True)
    os._exit(0)
"""
SETTINGS = [
    "pass",
    "b.cuda.matmul.fp32_precision = 'tf32'",
    "b.cudnn.conv.fp32_precision = 'ieee'",
    "b.fp32_precision = 'tf32'",
    "b.cuda.matmul.allow_tf32 = True; b.cuda.matmul.fp32_precision = 'ieee'",
    "b.cuda.matmul.allow_tf32 = True; b.cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('medium')",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_any_setting_of_the_users_is_overridden_and_restored():
    """By torch's new names, its old ones, or both, after which torch refuses to tell the old ones."""
    results = [json.loads(line) for line in python(USED, *SETTINGS).splitlines()]
    assert len(results) == len(SETTINGS)
    for found in results:
        assert found["float32"] == [["ieee"] * 4, "float32"]
        assert found["tf32"] == [["tf32", "tf32", "ieee", "ieee"], "tf32"]
        assert found["bf16"][0] == found["tf32"][0]
        assert found["after"] == found["outside"]
    assert sum(found["outside"][1] == "torch refuses" for found in results) == 4


def test_distilling_goes_on_after_the_new_setting(tmp_path):
    """On a CPU, too: it once raised that old and new names were mixed."""
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
    try:
        chosen = tiny(tmp_path, "dm", "images", {"schedule.steps": 1})
        job = Job.of(chosen, cache=tmp_path / "cache", run=Run(show=False))
        job.learn(job.context(real()))
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before

"""Checkpoints of another recipe, damaged ones, and none that runs code."""

import os

import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.trainers import checkpoint as checkpoints
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from tests.support.toy_loop import SCHEDULE, Toy, at, interrupt


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    run = Run(tmp_path, recipe={"ipc": 1, "settings": {"noise": 0.1, "channels": (8, 6)}})
    optimise(Toy(), SCHEDULE, seed=0, run=run)
    again = Run(tmp_path, recipe=run.recipe, resume=True)
    assert optimise(Toy(), SCHEDULE, seed=0, run=again) == {}  # finished: nothing to do
    other = Run(tmp_path, recipe={"ipc": 1, "settings": {"noise": 0.2, "channels": (8, 6)}}, resume=True)
    with pytest.raises(FormatError, match=r"settings.noise: 0.1 there, 0.2 here"):
        optimise(Toy(), SCHEDULE, seed=0, run=other)
    with pytest.raises(FormatError, match=r"seed: 0 there, 1 here"):
        optimise(Toy(), SCHEDULE, seed=1, run=again)
    with pytest.raises(
        FormatError, match=r"schedule.steps: 6 there, 7 here.*without resume, and with another out or folder"
    ):
        optimise(Toy(), Schedule(steps=7, milestones=(0.5,)), seed=0, run=again)


def test_an_unfinished_run_is_not_overwritten(tmp_path):
    with pytest.raises(Interrupted):
        optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path, on_step=at(1, interrupt)))
    before = (tmp_path / "distill.pt").read_bytes()
    with pytest.raises(FormatError, match="an unfinished run: resume it"):
        optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path))
    assert (tmp_path / "distill.pt").read_bytes() == before
    optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path, resume=True))
    optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path))  # a finished run may be overwritten
    assert len((tmp_path / "distill.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_damaged_checkpoints(tmp_path, content):
    optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path))
    path = tmp_path / "distill.pt"
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(FormatError, match="not a readable checkpoint"):
        optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path, resume=True))


def test_checkpoints_hold_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"dsetpack": 1, "recipe": {}, "state": Evil()}, tmp_path / "x.pt")
    with pytest.raises(FormatError, match="not a readable checkpoint"):
        checkpoints.load_checkpoint(tmp_path / "x.pt", {})
    torch.save({"a": 1}, tmp_path / "y.pt")
    with pytest.raises(FormatError, match="not a checkpoint of this version"):
        checkpoints.load_checkpoint(tmp_path / "y.pt", {})

"""DiM as a whole: exact resume of both stages, rates, double precision."""

import os
import signal
from pathlib import Path

import pytest
import torch

from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.parameterizations.generator import Generator
from tests.support.dim_cases import TINY, context, drawn, logits, same

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_critics_rate_changes_with_the_stage():
    made = TINY.build(context())
    objective = logits(lr_critic=5e-6).build(context(), made)
    assert [g["lr"] for g in objective.adversary.optimizer.param_groups] == [5e-6]


def distill(folder: Path, resume: bool, stop: tuple[str, int] | None) -> Generator:
    """Run both stages, interrupted after step ``stop[1]`` of phase ``stop[0]``."""

    def run(phase: str) -> Run:
        def on_step(step: int, terms: object) -> None:
            if stop == (phase, step):
                os.kill(os.getpid(), signal.SIGINT)

        return Run(folder, phase, resume=resume, on_step=on_step)

    where = Context(**{**vars(context()), "run": run})
    made = TINY.build(where)
    objective = logits().build(where, made)
    optimise(Distillation(objective, made), Schedule(steps=7, betas=(0.0, 0.9)), seed=1, run=run("match"))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("stop", [("gan", 1), ("gan", 3), ("match", 2), ("match", 3)])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, stop):
    straight = distill(tmp_path / "a", False, None)
    with pytest.raises(Interrupted):
        distill(tmp_path / "b", False, stop)
    torch.manual_seed(99)
    resumed = distill(tmp_path / "b", True, None)
    assert same(straight, resumed)
    ends = [torch.load(tmp_path / side / "match.pt", weights_only=True)["state"]["work"] for side in "ab"]
    for part in ("critic", "network"):
        kept = [end["objective"]["adversary" if part == "critic" else "teacher"][part] for end in ends]
        assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])


def test_double_precision(tmp_path):
    made = TINY.build(context()).double()
    assert made.draw(torch.tensor([0, 1]), drawn()).dtype == torch.float64
    assert made.images().dtype == torch.float64

"""The loop: exact resume, Ctrl-C, NaN, milestones."""

import csv
import signal
from typing import Any

import pytest
import torch

from dsetpack.formats.errors import DsetpackError
from dsetpack.trainers.loop import Interrupted, Run, Schedule, optimise
from tests.support.toy_loop import SCHEDULE, Toy, at, interrupt


def tensors(value: Any, path: str = "") -> dict[str, Any]:
    """A nested state, flat."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in tensors(item, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {k: v for n, item in enumerate(value) for k, v in tensors(item, f"{path}/{n}").items()}
    return {path: value}


def same_state(first: Any, second: Any) -> None:
    a, b = tensors(first), tensors(second)
    assert a.keys() == b.keys()
    for key, value in a.items():
        equal = torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key]
        assert equal, key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, number):
    straight = Toy()
    last = optimise(straight, SCHEDULE, seed=7, run=Run(tmp_path / "a"))

    first = Toy()
    with pytest.raises(Interrupted, match=r"after 3 steps: saved in .*distill.pt") as caught:
        optimise(first, SCHEDULE, seed=7, run=Run(tmp_path / "b", on_step=at(2, lambda: interrupt(number))))
    assert caught.value.step == 3
    torch.manual_seed(99)  # what happens in between does not matter
    second = Toy()
    assert optimise(second, SCHEDULE, seed=7, run=Run(tmp_path / "b", resume=True)) == last
    same_state(straight.state_dict(), second.state_dict())
    assert not torch.equal(first.x, second.x)
    final = [torch.load(tmp_path / side / "distill.pt", weights_only=True) for side in "ab"]
    assert "/state/optimizer/state/0/exp_avg_sq" in tensors(final[0])
    assert "/state/rng/0" in tensors(final[0])
    same_state(*final)
    rows = [list(csv.DictReader((tmp_path / side / "distill.csv").open())) for side in "ab"]
    assert [row["step"] for row in rows[1]] == list("012345")
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]


def test_resume_after_a_kill_repeats_steps_since_the_checkpoint(tmp_path):
    straight = Toy()
    optimise(straight, SCHEDULE, seed=1)

    class Killed(BaseException):
        pass

    def die():
        raise Killed

    with pytest.raises(Killed):
        optimise(Toy(), SCHEDULE, seed=1, run=Run(tmp_path, every=2, on_step=at(4, die)))
    second = Toy()
    optimise(second, SCHEDULE, seed=1, run=Run(tmp_path, resume=True))
    same_state(straight.state_dict(), second.state_dict())
    assert [row["step"] for row in csv.DictReader((tmp_path / "distill.csv").open())] == list("012345")


def test_the_callers_randomness_is_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    optimise(Toy(), SCHEDULE, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_signals_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="nothing was to be saved"):
        optimise(Toy(), SCHEDULE, seed=1, run=Run(on_step=at(0, interrupt)))
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(Interrupted, match="after 6 steps"):  # even in the last step: what follows must also stop
        optimise(Toy(), SCHEDULE, seed=1, run=Run(on_step=at(5, interrupt)))


@pytest.mark.parametrize(("kind", "named"), [("loss", "pull is nan"), ("gradient", "the gradient's norm is inf")])
def test_nan_stops_and_keeps_the_last_good_state(tmp_path, kind, named):
    good = Toy()
    optimise(good, Schedule(steps=3), seed=2)
    work = Toy({3: kind})
    with pytest.raises(DsetpackError, match=f"step 3: {named}; the state before it is kept in .*distill.pt"):
        optimise(work, Schedule(steps=6), seed=2, run=Run(tmp_path))
    kept = torch.load(tmp_path / "distill.pt", weights_only=True)["state"]
    assert kept["step"] == 3
    assert torch.equal(kept["work"]["x"], good.x)
    assert torch.equal(work.y, good.y)


def test_milestones_scale_every_rate():
    schedule = Schedule(steps=10, milestones=(0.3, 0.85), gamma=0.1)
    assert [schedule.factor(s) for s in range(10)] == pytest.approx([1] * 3 + [0.1] * 6 + [0.01])
    seen = []

    class Watched(Toy):
        def backward(self, step, generator):
            self.x.grad = torch.ones(8)
            self.y.grad = torch.zeros(3)
            seen.append(self.x[0].item())
            return {"loss": torch.tensor(0.0)}

    work = Watched()
    optimise(work, Schedule(steps=4, optimizer="sgd", milestones=(0.5,), gamma=0.1), seed=0)
    assert seen == pytest.approx([-1, -1.1, -1.2, -1.21])
    assert work.x[0].item() == pytest.approx(-1.22)

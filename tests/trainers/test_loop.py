"""The loop: exact resume, Ctrl-C, NaN, checkpoints of other recipes, the log."""

import csv
import os
import signal
from typing import Any

import pytest
import torch
from torch import nn

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.trainers import checkpoint as checkpoints
from dsetpack.trainers.loop import Interrupted, Run, Schedule, Trainable, optimise


class Toy(Trainable):
    """Pulls a vector to a random target: uses the step's generator, torch's own one, and a buffer of its own."""

    def __init__(self, bad: dict[int, str] | None = None) -> None:
        self.x = nn.Parameter(torch.linspace(-1, 1, 8))
        self.y = nn.Parameter(torch.ones(3))
        self.average = torch.zeros(8)
        self.bad = bad or {}

    def groups(self):
        return [{"name": "x", "params": [self.x], "lr": 0.1}, {"name": "y", "params": [self.y], "lr": 0.01}]

    def backward(self, step, generator):
        target = torch.randn(8, generator=generator) + torch.rand(8)
        self.average = 0.5 * self.average + 0.5 * target
        pull, size = (self.x - self.average).square().sum(), self.y.square().sum()
        if self.bad.get(step) == "loss":
            pull = pull * float("nan")
        (pull + size).backward()
        if self.bad.get(step) == "gradient":
            self.y.grad[1] = float("inf")
        return {"pull": pull.detach(), "size": size.detach()}

    def state_dict(self):
        return {"x": self.x.detach().clone(), "y": self.y.detach().clone(), "average": self.average}

    def load_state_dict(self, state: dict[str, Any]):
        with torch.no_grad():
            self.x.copy_(state["x"])
            self.y.copy_(state["y"])
        self.average = state["average"]


SCHEDULE = Schedule(steps=6, milestones=(0.5,))


def at(step: int, act) -> Any:
    return lambda done, terms: act() if done == step else None


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


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
    torch.manual_seed(99)  # whatever happens in between does not matter
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
    with pytest.raises(Interrupted, match="after 6 steps"):  # in the last step: what follows must stop, too
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
    optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path))  # a finished one may be
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


def test_terms_are_logged_and_summed(tmp_path):
    last = optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path))
    assert last["loss"] == pytest.approx(last["pull"] + last["size"])
    rows = list(csv.DictReader((tmp_path / "distill.csv").open()))
    assert list(rows[0]) == ["step", "seconds", "loss", "pull", "size"]
    assert float(rows[-1]["pull"]) == last["pull"]


def test_tensorboard_if_installed(tmp_path):
    pytest.importorskip("tensorboard")
    optimise(Toy(), SCHEDULE, seed=0, run=Run(tmp_path, tensorboard=True))
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_progress_lines_where_there_is_no_terminal(capsys):
    optimise(Toy(), SCHEDULE, seed=0, run=Run(show=True))
    assert "distill: 6/6 loss" in capsys.readouterr().err
    optimise(Toy(), SCHEDULE, seed=0, run=Run(show=False))
    optimise(Toy(), SCHEDULE, seed=0)
    assert capsys.readouterr().err == ""

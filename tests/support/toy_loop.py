"""A toy that learns, and interruptions."""

import os
import signal
from typing import Any

import torch
from torch import nn

from dsetpack.trainers.loop import Schedule, Trainable


class Toy(Trainable):
    """Pulls a vector to a random target, with the step's generator, torch's global one, and a buffer."""

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

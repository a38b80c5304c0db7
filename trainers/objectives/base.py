"""What every objective can do, and an objective on a parameterization as one piece of work for the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from typing_extensions import override

from dsetpack.trainers.loop import Group, Terms, Trainable
from dsetpack.trainers.parameterizations.base import Parameterization


class Objective(ABC):
    """Gradients that improve a synthetic set. What it learns itself (a learning rate, an adversary) is its own."""

    @abstractmethod
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        """Add one step's gradients to the parameters of ``synthetic`` (and to its own).

        Args:
            synthetic: the set; ``images()`` are differentiable and in its pixel space.
            step: 0, 1, ...
            generator: on the CPU, seeded for this step: draw everything from it.

        Returns:
            the loss term by term, detached.
        """

    def groups(self) -> Sequence[Group]:
        """Parameters of its own that the loop optimises along."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """What it needs to go on, beyond its settings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        """Go on from there."""
        return


class Distillation(Trainable):
    """An objective on a parameterization."""

    def __init__(self, objective: Objective, synthetic: Parameterization) -> None:
        self.objective, self.synthetic = objective, synthetic

    @override
    def groups(self) -> Sequence[Group]:
        return [*self.synthetic.groups(), *self.objective.groups()]

    @override
    def backward(self, step: int, generator: torch.Generator) -> Terms:
        return self.objective.backward(self.synthetic, step, generator)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"synthetic": self.synthetic.state_dict(), "objective": self.objective.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.synthetic.load_state_dict(state["synthetic"])
        self.objective.load_state_dict(state["objective"])

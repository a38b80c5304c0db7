"""What every objective can do, and an objective on a parameterization as one piece of work for the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from typing_extensions import override

from dsetpack.formats.card import Recipe
from dsetpack.formats.model import Model
from dsetpack.trainers.context import Context
from dsetpack.trainers.loop import Group, Terms, Trainable
from dsetpack.trainers.parameterizations.base import Parameterization


class ObjectiveSettings(Model, ABC):
    """What an objective depends on. A file of this package names its own as ``SETTINGS``; the file's name is its name.

    Attributes:
        name: of the objective.
        refuses: the parameterizations it makes no sense with, and why; it is tested with all others.
    """

    refuses: ClassVar[Mapping[str, str]] = {}

    name: str

    @abstractmethod
    def build(self, context: Context, synthetic: Parameterization) -> Objective:
        """The objective for this set, after whatever must be done before (experts, means, a GAN)."""


class Objective(ABC):
    """Gradients that improve a synthetic set. What it learns itself (a learning rate, an adversary) is its own.

    Attributes:
        sharded, repeatable: see ``Trainable``.
    """

    sharded: bool = False
    repeatable: bool = True

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

    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:  # noqa: ARG002
        """What follows the optimiser's step: inner networks train on the set as it is now, parameters are clipped."""
        return

    def groups(self) -> Sequence[Group]:
        """Parameters of its own that the loop optimises along."""
        return ()

    def evaluation(self, recipe: Recipe) -> Recipe:
        """How to train on the set, with what was learned along (the learning rate of MTT)."""
        return recipe

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
        self.sharded, self.repeatable = objective.sharded, objective.repeatable

    @override
    def groups(self) -> Sequence[Group]:
        return [*self.synthetic.groups(), *self.objective.groups()]

    @override
    def backward(self, step: int, generator: torch.Generator) -> Terms:
        return self.objective.backward(self.synthetic, step, generator)

    @override
    def after(self, step: int, generator: torch.Generator) -> None:
        self.objective.after(self.synthetic, step, generator)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"synthetic": self.synthetic.state_dict(), "objective": self.objective.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.synthetic.load_state_dict(state["synthetic"])
        self.objective.load_state_dict(state["objective"])

"""The interface of all objectives, and the pair of objective and parameterization that the loop runs."""

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
    """The settings of an objective. Each file of this package has them as ``SETTINGS`` and is named like the objective.

    Attributes:
        name: the objective's name.
        refuses: the parameterizations that the objective makes no sense with, and why; it is tested with all others.
    """

    refuses: ClassVar[Mapping[str, str]] = {}

    name: str

    def named_networks(self) -> tuple[tuple[str, int | None], ...]:
        """Name and width of every network that the settings name as text: they are tried before anything is learned."""
        return ()

    @abstractmethod
    def build(self, context: Context, synthetic: Parameterization) -> Objective:
        """Build the objective for this set, after the work that it needs first (experts, means, a GAN)."""


class Objective(ABC):
    """A source of gradients that improve a synthetic set. It holds what it learns itself (a learning rate, a critic).

    Attributes:
        sharded, repeatable: see ``Trainable``.
    """

    sharded: bool = False
    repeatable: bool = True

    @abstractmethod
    def backward(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> Terms:
        """Add one step's gradients to the parameters of ``synthetic`` (and to the objective's own).

        Args:
            synthetic: the set; ``images()`` are differentiable and in its pixel space.
            step: 0, 1, ...
            generator: a generator on the CPU, seeded for this step; draw everything from it.

        Returns:
            the loss term by term, detached.
        """

    def after(self, synthetic: Parameterization, step: int, generator: torch.Generator) -> None:  # noqa: ARG002
        """Do what follows the optimiser's step: train inner networks on the set as it now is, clip parameters."""
        return

    def groups(self) -> Sequence[Group]:
        """The objective's own parameters, which the loop optimises together with the set's."""
        return ()

    def evaluation(self, recipe: Recipe) -> Recipe:
        """The recipe to train on the set by, updated with what the objective learned (MTT: the learning rate)."""
        return recipe

    def state_dict(self) -> dict[str, Any]:
        """What the objective needs to continue, beyond its settings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        """Continue from a saved state."""
        return


class Distillation(Trainable):
    """An objective applied to a parameterization: one piece of work for the loop."""

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

"""The one loop that optimises everything here, with progress, log, checkpoints, interruption and exact resume.

Randomness: step t gets a CPU generator seeded by (seed, t); torch's own generators are seeded once and saved in the
checkpoint. So a run in pieces gives the same bits as a run in one go, on the same device with the same number of
threads.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import get_total_norm

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.model import Model
from dsetpack.formats.words import plural
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import deterministic
from dsetpack.trainers.checkpoint import Identity, check_free, load_checkpoint, save_checkpoint, unsound
from dsetpack.trainers.lamb import Lamb
from dsetpack.trainers.log import Log
from dsetpack.trainers.progress import meter
from dsetpack.trainers.seeds import derive, generator
from dsetpack.trainers.signals import StopSignals

Terms = Mapping[str, Tensor]
"""The named terms of a loss, as detached scalars."""


Beta = Annotated[float, Field(ge=0, lt=1)]


class Group(TypedDict):
    """Parameters with one learning rate and, for SGD, an optional momentum instead of the schedule's."""

    name: str
    params: list[torch.nn.Parameter]
    lr: float
    momentum: NotRequired[float]


class Trainable(ABC):
    """What the loop optimises: an objective on a parameterization, or a network on data.

    Attributes:
        sharded: whether each process adds gradients and terms only for its own share of the work, and the loop sums
            them. Otherwise all processes do the same work.
        repeatable: whether a ``backward`` that ends in NaN leaves the state intact, so that another call does the same.
            It does not if it also trains something (a critic, running statistics).
    """

    sharded: bool = False
    repeatable: bool = True

    @abstractmethod
    def groups(self) -> Sequence[Group]:
        """The parameters to optimise, always the same ones in the same order."""

    @abstractmethod
    def backward(self, step: int, generator: torch.Generator) -> Terms:
        """Add one step's gradients to the parameters, whose gradients are None before.

        Args:
            step: 0, 1, ...
            generator: a generator on the CPU, seeded for this step; draw everything from it.

        Returns:
            the loss term by term, detached.
        """

    def after(self, step: int, generator: torch.Generator) -> None:  # noqa: ARG002
        """Do what follows the optimiser's step: keep parameters in their range, train inner networks.

        ``generator`` is the one that ``backward`` drew from. The checkpoint is saved after this.
        """
        return

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the work needs to continue: tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""


class Schedule(Model):
    """How long and by which optimiser to optimise. Groups have their own learning rates.

    At each milestone (a share of all steps) every rate is multiplied by ``gamma``. With ``final`` every rate also falls
    along half a cosine to that share of itself.

    Attributes:
        betas: the betas of Adam and LAMB.
        momentum: SGD's momentum, for groups without their own.
    """

    steps: Annotated[int, Field(ge=1)]
    optimizer: Literal["adam", "sgd", "lamb"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    gamma: Annotated[float, Field(gt=0)] = 0.2
    final: Annotated[float, Field(ge=0, le=1)] = 1.0

    def factor(self, step: int) -> float:
        """The factor by which the learning rates are multiplied at a step."""
        drops = self.gamma ** sum(int(m * self.steps + 0.5) <= step for m in self.milestones)
        return float(drops * (self.final + (1 - self.final) * (1 + math.cos(math.pi * step / self.steps)) / 2))

    def build(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Build the optimiser, with torch's defaults for all other settings."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                [{"params": g["params"], "lr": g["lr"], "momentum": g.get("momentum", self.momentum)} for g in groups]
            )
        plain = [{"params": g["params"], "lr": g["lr"]} for g in groups]
        return (Lamb if self.optimizer == "lamb" else torch.optim.Adam)(plain, betas=self.betas)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped the run. ``checkpoint``, unless None, holds the state after the last whole step."""

    def __init__(self, step: int, checkpoint: Path | None) -> None:
        saved = f"saved in {checkpoint}; resume to continue from there" if checkpoint else "nothing was to be saved"
        super().__init__(f"interrupted after {plural(step, 'step')}: {saved}")
        self.step, self.checkpoint = step, checkpoint


@dataclass(frozen=True)
class Run:
    """Where a run keeps its state, and how it shows its progress.

    Attributes:
        folder: the folder for the checkpoint and the log; None keeps nothing.
        name: the name of the work: its checkpoint is ``<name>.pt``, its log ``<name>.csv``.
        recipe: all settings that the result depends on, as JSON; a checkpoint with other settings is refused.
        resume: whether to continue from the checkpoint if it exists. Otherwise an unfinished one is refused, never
            overwritten.
        every: the number of steps between two checkpoints.
        show: whether to show progress; None: only on a terminal.
        tensorboard: whether to write event files, too.
        on_step: called after each step with its number and the loss terms.
    """

    folder: Path | None = None
    name: str = "distill"
    recipe: Identity | None = None
    resume: bool = False
    every: int = 500
    show: bool | None = None
    tensorboard: bool = False
    on_step: Callable[[int, Mapping[str, float]], None] | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint's path."""
        return None if self.folder is None else self.folder / f"{self.name}.pt"

    def check_free(self) -> None:
        """Refuse to start over an unfinished run's checkpoint.

        Raises:
            FormatError: if such a checkpoint exists and ``resume`` is not set.
        """
        if self.checkpoint is not None and not self.resume:
            check_free(self.checkpoint)

    def phase(self, name: str, folder: Path | None, recipe: Identity, resume: bool) -> Run:
        """The run of one phase of a job, which shows progress and saves as this run does."""
        return replace(self, folder=folder, name=name, recipe=recipe, resume=resume)


def optimise(work: Trainable, schedule: Schedule, *, seed: int, run: Run | None = None) -> dict[str, float]:
    """Optimise until the schedule ends.

    Args:
        work: what to optimise; it is changed in place.
        schedule: the length, the optimiser, and the milestones of the learning rates.
        seed: the seed of all randomness.
        run: where to keep state; by default nowhere.

    Returns:
        the loss terms of the last step and their sum as ``loss``; empty if a finished run was resumed.

    Raises:
        DsetpackError: if a loss term, the gradient, or a state to be saved is NaN or infinite; the message names it.
            The last good state is kept: that before the step, or the one saved last if the work is not ``repeatable``
            or that state is not finite either.
        FormatError: if the checkpoint belongs to another recipe, or is unfinished and ``resume`` is not set.
        Interrupted: on Ctrl-C or SIGTERM, after a whole step and with the state saved if the run keeps any.
    """
    loop = _Loop(work, schedule, seed, run or Run())
    with deterministic(), torch.random.fork_rng(devices=loop.devices):
        torch.default_generator.manual_seed(derive(seed, "global"))
        for device in loop.devices:
            torch.cuda.default_generators[device].manual_seed(derive(seed, "global", device))
        return loop.go()


class _Loop:
    """One run of the loop."""

    def __init__(self, work: Trainable, schedule: Schedule, seed: int, run: Run) -> None:
        self.work, self.schedule, self.seed, self.run = work, schedule, seed, run
        groups = work.groups()
        self.rates = [group["lr"] for group in groups]
        self.parameters = [p for group in groups for p in group["params"]]
        self.devices = sorted({p.get_device() for p in self.parameters if p.is_cuda})
        self.optimizer = schedule.build(groups)
        self.recipe: Identity = {**(run.recipe or {}), "schedule": schedule.model_dump(mode="json"), "seed": seed}
        self.saved: int | None = None  # steps done in the checkpoint

    def go(self) -> dict[str, float]:
        start, terms = self._begin(), dict[str, float]()
        began = time.perf_counter()
        folder = None if parallel.rank() else self.run.folder
        self.log = Log(folder, self.run.name, start, self.run.tensorboard)
        show = False if parallel.rank() else self.run.show
        try:
            with meter(self.run.name, self.schedule.steps, show, start) as work, StopSignals() as stop:
                for step in range(start, self.schedule.steps):
                    terms = self._step(step)
                    self.log.write(step, time.perf_counter() - began, terms)
                    work.update(step + 1, f"loss {terms['loss']:.4g}")
                    if self.run.on_step is not None:
                        self.run.on_step(step, terms)
                    self._keep(step + 1, parallel.any_process(bool(stop), self.parameters[0].device))
        finally:
            self.log.close()
        return terms

    def _step(self, step: int) -> dict[str, float]:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.schedule.factor(step)
        self.optimizer.zero_grad()
        drawn = generator(self.seed, "step", step)
        terms = self._checked(self._summed(self.work.backward(step, drawn)), step)
        self.optimizer.step()
        self.work.after(step, drawn)
        return terms

    def _summed(self, terms: Terms) -> Terms:
        """Sum terms and gradients over all processes if each did only its share."""
        if not self.work.sharded or parallel.world() == 1:
            return terms
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        terms = {name: value.clone() for name, value in terms.items()}
        parallel.sum_over_processes([*terms.values(), *(p.grad for p in self.parameters if p.grad is not None)])
        return terms

    def _checked(self, found: Terms, step: int) -> dict[str, float]:
        """The terms as numbers, by one synchronisation. If one is not finite, raise before the step spoils anything."""
        gradient = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        values = torch.stack([*(t.detach().double() for t in found.values()), gradient.double()]).cpu()
        if not bool(values.isfinite().all()):
            names = [*found, "the gradient's norm"]
            name, value = next((n, float(v)) for n, v in zip(names, values, strict=True) if not v.isfinite())
            state = self._state(step)
            if step and step != self.saved and self.work.repeatable and unsound(state) is None:
                self._write(state)
            raise self._failure(f"step {step}: {name} is {value}", step)
        terms = dict(zip(found, values.tolist(), strict=False))
        return {"loss": sum(terms.values()), **(terms if len(terms) > 1 else {})}

    def _keep(self, done: int, stop: bool) -> None:
        if stop or done == self.schedule.steps or done % self.run.every == 0:
            self._save(done)
        if stop:
            raise Interrupted(done, self.run.checkpoint)

    def _save(self, step: int) -> None:
        """Save the state after ``step`` steps, if it is finite; the losses do not show what the last step did to it."""
        if self.run.checkpoint is None and step < self.schedule.steps:
            return
        state = self._state(step)
        if name := unsound(state):
            raise self._failure(f"after step {step - 1}: {name} is not finite", step)
        self._write(state)

    def _failure(self, what: str, step: int) -> DsetpackError:
        """The error, which says where the last good state is."""
        path, where = self.run.checkpoint, "nothing was saved before"
        if self.saved:
            last = f"the last good state, after {plural(self.saved, 'step')},"
            where = f"{'the state before it' if self.saved == step else last} is kept in {path}"
        return DsetpackError(
            f"{what}{'' if path is None else '; ' + where}. Lower the learning rates, or check the data"
        )

    def _write(self, state: dict[str, Any]) -> None:
        self.log.flush()
        self.saved = state["step"]
        if self.run.checkpoint is not None and not parallel.rank():
            save_checkpoint(self.run.checkpoint, self.recipe, state)

    def _state(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "finished": step == self.schedule.steps,
            "work": self.work.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": [torch.default_generator.get_state(), *(torch.cuda.get_rng_state(d) for d in self.devices)],
        }

    def _begin(self) -> int:
        """Load the checkpoint if there is one to continue from; return the step to begin with."""
        path = self.run.checkpoint
        if path is None or not path.exists():
            return 0
        self.run.check_free()
        if not self.run.resume:
            return 0
        state = load_checkpoint(path, self.recipe)
        self.work.load_state_dict(state["work"])
        self.optimizer.load_state_dict(state["optimizer"])
        host, *others = state["rng"]
        torch.default_generator.set_state(host)
        for device, value in zip(self.devices, others, strict=True):
            torch.cuda.set_rng_state(value, device)
        self.saved = int(state["step"])
        return self.saved

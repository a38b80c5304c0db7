"""The rows of ``measure/objectives.py``: for each method, dsetpack's recipe and a peer with the same start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import objective_sizes as sizes
from benchmarks.cases.objective_peers import plain_dc, plain_dm, plain_frepo, plain_gan, plain_logits, plain_mtt
from benchmarks.cases.objective_sizes import Size
from benchmarks.cases.plain.gan import Gan as PlainGan
from benchmarks.cases.plain.peer import Peer
from dsetpack.formats.card import NormalizedSpace
from dsetpack.spaces import Normalized
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.gan import Adversary, Gan
from dsetpack.trainers.job import Job
from dsetpack.trainers.loop import Run, Schedule, Trainable
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.objectives.adversary import Adversarial
from dsetpack.trainers.objectives.mtt import TrajectoryMatching
from dsetpack.trainers.recipe import DistillRecipe, load_recipe
from dsetpack.trainers.seeds import generator

SEED = 0
SPACE = Normalized(NormalizedSpace(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))


@dataclass(frozen=True)
class Method:
    """A method that is set up and has taken no step.

    Attributes:
        work: dsetpack's work for its training loop.
        schedule: the schedule of that loop.
        peer: makes the straightforward implementation, which starts from the present state of ``work``.
    """

    work: Trainable
    schedule: Schedule
    peer: Callable[[], Peer]


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        recipe: name of dsetpack's recipe.
        changes: the settings of the recipe that depend on the size.
        peer: makes the peer from dsetpack's work, its context and its recipe.
        plain: describes the peer for readers of the results.
        goal: how many times as long as dsetpack the peer should take at least, at the papers' size; at other sizes the
            goal is 1.
    """

    recipe: str
    changes: Callable[[Size], dict[str, Any]]
    peer: Callable[[Distillation, Context, DistillRecipe], Peer]
    plain: str
    goal: float = 1.0


class Exact(ImageData):
    """Real images in double precision."""

    def raw(self, index: Tensor | slice = slice(None)) -> Tensor:
        return super().raw(index).double()


def exact() -> bool:
    """Whether everything is in double precision, which is the case if that is torch's default."""
    return torch.get_default_dtype() == torch.float64


def set_up(name: str, size: Size, device: torch.device, folder: Path) -> Method:
    """Set up a method on random images; ``folder`` keeps what dsetpack computes in advance."""
    data = images(size, device)
    if name == GAN:
        return _gan(data, size, folder)
    case = CASES[name]
    chosen = load_recipe(case.recipe, case.changes(size))
    context = _context(data, chosen, folder)
    work = _distillation(context, chosen)
    assert chosen.schedule is not None
    return Method(work, chosen.schedule, lambda: case.peer(work, context, chosen))


def images(size: Size, device: torch.device) -> ImageData:
    """Real images with random pixels."""
    drawn, count = generator(SEED, "images"), size.classes * size.per_class
    x = torch.randint(256, (count, *size.image), generator=drawn, dtype=torch.uint8)
    y = torch.arange(count) % size.classes
    return (Exact if exact() else ImageData)(x, y, tuple(map(str, range(size.classes))), "random").to(device)


def _context(data: ImageData, chosen: DistillRecipe, folder: Path) -> Context:
    return Job.of(chosen, seed=SEED, cache=folder, run=Run(show=False)).context(data, space=SPACE)


def _distillation(context: Context, chosen: DistillRecipe) -> Distillation:
    assert chosen.objective is not None
    synthetic = chosen.parameterization.build(context)
    objective = chosen.objective.build(context, synthetic)
    if exact() and isinstance(objective, TrajectoryMatching):
        recorded = objective.experts
        objective.experts = lambda number, epoch: recorded(number, epoch).double()
    if chosen.adversary is not None:
        objective = Adversarial(objective, chosen.adversary, context, synthetic)
    return Distillation(objective, synthetic)


def _gan(data: ImageData, size: Size, folder: Path) -> Method:
    """Set up DiM's first stage, which is not an objective."""
    chosen = load_recipe("dim", sizes.dim(size))
    context = _context(data, chosen, folder)
    objective: Any = chosen.objective
    synthetic: Any = chosen.parameterization.build(context)
    settings = objective.gan
    adversary = Adversary(settings, data.shape, context.classes, size.generator, context.seed).to(context.device)
    work = Gan(synthetic, adversary, data)
    return Method(
        work, settings.schedule(len(data)), lambda: plain_gan(work, adversary, PlainGan, data, settings.batch)
    )


GAN = "generator, GAN"
_LOOP = "a loop over classes, one over decoders, one backward pass of the sum"
_ALL = f"embeds all real images again each step; {_LOOP}"
_DC = "a loop over classes; the gradient also reaches the network's weights, as released"
_UNROLLED = "all of the student's steps in one graph"
_GAME = f"{_UNROLLED}, each step decodes again; the adversary has a separate pass"
_KERNEL = "both kernels in full, `linalg.solve`; torch's Adam on both sides"
CASES: Mapping[str, Case] = {
    "KFS × DM, all real images": Case("kfs", sizes.kfs, plain_dm, _ALL, goal=2.0),
    "KFS × DM, real batch": Case("kfs", sizes.kfs_batch, plain_dm, _LOOP),
    "HaBa × DM, all real images": Case("haba-dm", sizes.haba_dm, plain_dm, _ALL, goal=2.0),
    "HaBa × DM, real batch": Case("haba-dm", sizes.haba_dm_batch, plain_dm, _LOOP, goal=2.0),
    "images × DM": Case("dm", sizes.dm, plain_dm, _LOOP),
    "images × DC": Case("dc", sizes.dc, plain_dc, f"{_DC}; one backward pass of the sum over classes"),
    "IDC": Case("idc", sizes.idc, plain_dc, f"{_DC}; a loop over patches; one backward pass per class"),
    "images × MTT": Case("mtt", sizes.mtt, plain_mtt, _UNROLLED),
    "images × MTT, all graphs kept": Case("mtt", sizes.mtt_graphs, plain_mtt, _UNROLLED),
    "HaBa × MTT, min-max": Case("haba", sizes.haba_mtt, plain_mtt, _GAME, goal=2.0),
    "HaBa × MTT, min-max, all graphs kept": Case("haba", sizes.haba_mtt_graphs, plain_mtt, _GAME, goal=2.0),
    "images × FRePo": Case("frepo", sizes.frepo, plain_frepo, _KERNEL),
    "images × ISA": Case("isa", sizes.frepo, plain_frepo, _KERNEL),
    "generator × logits": Case(
        "dim", sizes.dim, plain_logits, "each side and each player passes through the critic on its own"
    ),
}
ROWS = (*CASES, GAN)

"""What ``objectives.py`` compares: for each method dsetpack's recipe, and its peer from the same start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from _objective_peers import plain_dc, plain_dm, plain_frepo, plain_gan, plain_logits, plain_mtt
from _plain_gan import Gan as PlainGan
from _plain_objectives import Peer
from torch import Tensor

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
NETWORKS = 2
"""Different networks of distribution matching: as many real means are computed before."""
EPOCHS = 3
"""Of the one expert."""
SPACE = Normalized(NormalizedSpace(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
        image, classes, per_class: real images (random pixels: what is in them costs no time), and how many of a class.
        width: of networks.
        ipc: images a class of plain sets; of IDC, sources.
        codes, bases: a class, of KFS and HaBa.
        matched: real images of a class in a step of distribution and gradient matching.
        inner: DC's epochs between two steps.
        idc: the same two for IDC: real images of a class, and batches.
        steps: of a student.
        graphs: images whose graphs trajectory matching keeps: its default at the papers' sizes, fewer in proportion.
        online: FRePo's batch of real images.
        generator, gan_batch: DiM's width, and the batch of its GAN.
        batch, learned: of its matching: the batch, and how many batches a network learns before a step.
    """

    image: tuple[int, int, int]
    classes: int
    per_class: int
    width: int
    ipc: int
    codes: int
    bases: int
    matched: int
    inner: int
    idc: tuple[int, int]
    steps: int
    graphs: int
    online: int
    generator: int
    gan_batch: int
    batch: int
    learned: int


SIZES = {
    "paper": Size(
        image=(3, 32, 32),
        classes=10,
        per_class=5000,
        width=128,
        ipc=10,
        codes=12,
        bases=9,
        matched=256,
        inner=50,
        idc=(64, 32),
        steps=30,
        graphs=512,
        online=1024,
        generator=196,
        gan_batch=128,
        batch=64,
        learned=16,
    ),
    "cpu": Size(
        image=(3, 32, 32),
        classes=5,
        per_class=400,
        width=32,
        ipc=4,
        codes=9,
        bases=4,
        matched=64,
        inner=10,
        idc=(32, 4),
        steps=8,
        graphs=30,
        online=256,
        generator=32,
        gan_batch=32,
        batch=32,
        learned=4,
    ),
    "tiny": Size(
        image=(3, 16, 16),
        classes=3,
        per_class=12,
        width=4,
        ipc=2,
        codes=2,
        bases=2,
        matched=5,
        inner=2,
        idc=(4, 2),
        steps=3,
        graphs=8,
        online=20,
        generator=6,
        gan_batch=6,
        batch=6,
        learned=2,
    ),
}
SIZES["paper-short"] = replace(SIZES["paper"], per_class=1000, steps=4, graphs=68)
"""``paper``: CIFAR-10 with the papers' networks, KFS at IPC 1 and all others at IPC 10. ``paper-short``, for a CPU: the
same with a fifth of the real images, and 4 of the student's 30 steps (of whose graphs the same share is kept)."""


@dataclass(frozen=True)
class Method:
    """A method, ready to go.

    Attributes:
        work: ours, for the loop.
        schedule: its optimiser.
        peer: makes the straightforward implementation, which starts where ``work`` is now.
    """

    work: Trainable
    schedule: Schedule
    peer: Callable[[], Peer]


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        recipe: dsetpack's.
        changes: settings of the recipe that the size decides.
        peer: from our work, its context and recipe.
        plain: what the peer does, for people.
        goal: how many times our time the peer shall take at least at the papers' sizes; elsewhere it is 1.
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
    """Whether all is in double precision: whether that is torch's default."""
    return torch.get_default_dtype() == torch.float64


def set_up(name: str, size: Size, device: torch.device, folder: Path) -> Method:
    """A method on random images; ``folder`` keeps what ours computes before."""
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


# What the sizes change in the recipes. Rates are low, so that nothing diverges on random images.


def _kfs(size: Size) -> dict[str, Any]:
    return {
        "parameterization.sources": size.codes,
        "parameterization.over_parameterisation": 10.0,
        "parameterization.pretrain.steps": 1,
        "objective.width": size.width,
        "objective.networks": NETWORKS,
    }


def _kfs_batch(size: Size) -> dict[str, Any]:
    return {**_kfs(size), "objective.real_batch": size.matched}


def _dm(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.ipc,
        "parameterization.lr": 0.1,
        "objective.width": size.width,
        "objective.networks": NETWORKS,
        "objective.real_batch": size.matched,
    }


def _haba(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.bases + 1,
        "parameterization.sources": size.bases,
        "parameterization.over_parameterisation": 10.0,
        "parameterization.lr_bases": 0.1,
        "parameterization.lr_hallucinators": 0.001,
        "objective.width": size.width,
    }


def _haba_dm(size: Size) -> dict[str, Any]:
    return {**_haba(size), "objective.networks": NETWORKS, "objective.real_batch": None, "adversary": None}


def _haba_dm_batch(size: Size) -> dict[str, Any]:
    return {**_haba_dm(size), "objective.real_batch": size.matched}


def _dc(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.ipc,
        "objective.width": size.width,
        "objective.real_batch": size.matched,
        "objective.outer": 10,
        "objective.inner": size.inner,
    }


def _idc(size: Size) -> dict[str, Any]:
    real, inner = size.idc
    return {
        "ipc": size.ipc,
        "parameterization.clip": False,
        "objective.width": size.width,
        "objective.real_batch": real,
        "objective.inner": inner,
    }


def _steps(size: Size) -> dict[str, Any]:
    return {
        "objective.width": size.width,
        "objective.syn_steps": size.steps,
        "objective.graph_images": size.graphs,
        "objective.max_start": 2,
        "objective.experts": {"count": 1, "epochs": EPOCHS, "epoch_steps": 1, "batch": size.matched},
    }


def _mtt(size: Size) -> dict[str, Any]:
    return {"ipc": size.ipc, "parameterization.lr": 0.1, **_steps(size)}


def _all_graphs(size: Size) -> dict[str, Any]:
    return {**_mtt(size), "objective.graph_images": size.steps * size.classes * size.ipc}


def _haba_mtt(size: Size) -> dict[str, Any]:
    return {**_haba(size), **_steps(size), "adversary.width": size.width}


def _haba_mtt_graphs(size: Size) -> dict[str, Any]:
    return {**_haba_mtt(size), "objective.graph_images": 2 * size.steps * size.classes * size.bases}


def _frepo(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.ipc,
        "objective.width": size.width,
        "objective.batch": size.online,
        "schedule.optimizer": "adam",
    }


def _dim(size: Size) -> dict[str, Any]:
    return {
        "parameterization.width": size.generator,
        "objective.networks": ["convnet3"],
        "objective.network_width": size.width,
        "objective.gan": {"steps": 1, "batch": size.gan_batch},
        "objective.batch": size.batch,
        "objective.real_steps": size.learned,
    }


def _gan(data: ImageData, size: Size, folder: Path) -> Method:
    """DiM's first stage, which is no objective of its own."""
    chosen = load_recipe("dim", _dim(size))
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
_LOOP = "a loop over classes, one over decoders, one backward of the sum"
_ALL = f"embeds all real images again each step; {_LOOP}"
_DC = "a loop over classes; the gradient reaches the network's weights, too, as released"
_UNROLLED = "all of the student's steps in one graph"
_GAME = f"{_UNROLLED}, each step decodes anew; the adversary has a pass of its own"
_KERNEL = "both kernels in full, `linalg.solve`; torch's Adam on both sides"
CASES: Mapping[str, Case] = {
    "KFS × DM, all real images": Case("kfs", _kfs, plain_dm, _ALL, goal=2.0),
    "KFS × DM, real batch": Case("kfs", _kfs_batch, plain_dm, _LOOP),
    "HaBa × DM, all real images": Case("haba-dm", _haba_dm, plain_dm, _ALL, goal=2.0),
    "HaBa × DM, real batch": Case("haba-dm", _haba_dm_batch, plain_dm, _LOOP, goal=2.0),
    "images × DM": Case("dm", _dm, plain_dm, _LOOP),
    "images × DC": Case("dc", _dc, plain_dc, f"{_DC}; one backward of the sum over classes"),
    "IDC": Case("idc", _idc, plain_dc, f"{_DC}; a loop over patches; one backward a class"),
    "images × MTT": Case("mtt", _mtt, plain_mtt, _UNROLLED),
    "images × MTT, all graphs kept": Case("mtt", _all_graphs, plain_mtt, _UNROLLED),
    "HaBa × MTT, min-max": Case("haba", _haba_mtt, plain_mtt, _GAME, goal=2.0),
    "HaBa × MTT, min-max, all graphs kept": Case("haba", _haba_mtt_graphs, plain_mtt, _GAME, goal=2.0),
    "images × FRePo": Case("frepo", _frepo, plain_frepo, _KERNEL),
    "images × ISA": Case("isa", _frepo, plain_frepo, _KERNEL),
    "generator × logits": Case("dim", _dim, plain_logits, "each side and each player passes through the critic alone"),
}
ROWS = (*CASES, GAN)

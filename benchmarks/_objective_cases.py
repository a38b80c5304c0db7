"""What ``objectives.py`` compares: for each method dsetpack's recipe, and its peer from the same start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _plain import plain
from _plain_gan import Gan as PlainGan
from _plain_gan import LogitMatching as PlainLogits
from _plain_objectives import (
    DcOptions,
    DistributionMatching,
    GradientMatching,
    HabaGame,
    Peer,
    Real,
    Synthetic,
    TrajectoryMatching,
)
from _plain_regression import FeatureRegression
from torch import Tensor, nn

from dsetpack.augment import Dsa
from dsetpack.formats.card import NormalizedSpace
from dsetpack.spaces import Normalized
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.distill import context_for
from dsetpack.trainers.gan import Adversary, Gan
from dsetpack.trainers.loop import Run, Schedule, Trainable
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.objectives.adversary import Adversarial
from dsetpack.trainers.recipe import DistillRecipe, recipe
from dsetpack.trainers.seeds import derive, generator

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
        online: FRePo's batch of real images.
        drawn, played, learned: DiM: width, batch of the GAN, batch of matching, batches that a network learns.
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
    online: int
    generator: int
    gan_batch: int
    batch: int
    learned: int


SIZES = {
    "paper": Size((3, 32, 32), 10, 5000, 128, 10, 12, 9, 256, 50, (64, 32), 30, 1024, 196, 128, 64, 16),
    "cpu": Size((3, 32, 32), 5, 400, 32, 4, 9, 4, 64, 10, (32, 4), 8, 256, 32, 32, 32, 4),
    "tiny": Size((3, 16, 16), 3, 12, 4, 2, 2, 2, 5, 2, (4, 2), 3, 20, 6, 6, 6, 2),
}
"""``paper``: CIFAR-10 with the papers' networks, KFS at IPC 1 and all others at IPC 10."""


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
        goal: how many times our time the peer shall take at least at the papers' sizes.
    """

    recipe: str
    changes: Callable[[Size], dict[str, Any]]
    peer: Callable[[Distillation, Context, DistillRecipe], Peer]
    plain: str
    goal: float = 1.0


def set_up(name: str, size: Size, device: torch.device, folder: Path) -> Method:
    """A method on random images; ``folder`` keeps what ours computes before."""
    data = images(size, device)
    if name == GAN:
        return _gan(data, size, folder)
    case = CASES[name]
    chosen = recipe(case.recipe, case.changes(size))
    context = _context(data, chosen, folder)
    work = _distillation(context, chosen)
    assert chosen.schedule is not None
    return Method(work, chosen.schedule, lambda: case.peer(work, context, chosen))


def images(size: Size, device: torch.device) -> ImageData:
    drawn, count = generator(SEED, "images"), size.classes * size.per_class
    x = torch.randint(256, (count, *size.image), generator=drawn, dtype=torch.uint8)
    y = torch.arange(count) % size.classes
    return ImageData(x, y, tuple(map(str, range(size.classes))), "random").to(device)


def _context(data: ImageData, chosen: DistillRecipe, folder: Path) -> Context:
    return context_for(data, chosen, SEED, None, False, folder, Run(show=False), space=SPACE)


def _distillation(context: Context, chosen: DistillRecipe) -> Distillation:
    assert chosen.objective is not None
    synthetic = chosen.parameterization.build(context)
    objective = chosen.objective.build(context, synthetic)
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
    return {
        **_haba(size),
        "objective.networks": NETWORKS,
        "objective.real_batch": size.matched,
        "adversary": None,
    }


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
        "objective.max_start": 2,
        "objective.experts": {"count": 1, "epochs": EPOCHS, "epoch_steps": 1, "batch": size.matched},
    }


def _mtt(size: Size) -> dict[str, Any]:
    return {"ipc": size.ipc, "parameterization.lr": 0.1, **_steps(size)}


def _all_graphs(size: Size) -> dict[str, Any]:
    return {**_mtt(size), "objective.graph_images": size.steps * size.classes * size.ipc}


def _no_graphs(size: Size) -> dict[str, Any]:
    return {**_mtt(size), "objective.graph_images": 0}


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


# The peers, from our work before its first step.


def _build(context: Context, name: str, width: int | None, *path: str) -> Callable[[int], Network]:
    def build(number: int) -> Network:
        seed = derive(context.seed, *path, number)
        return network(name, context.data.shape, context.classes, width, seed=seed).to(context.device)

    return build


def _real(context: Context, raw: bool = False) -> Real:
    return Real(context.data.raw() if raw else context.space.apply(context.data.raw()), context.data.labels)


def _synthetic(work: Distillation, context: Context) -> Synthetic:
    """The set as sources and single modules."""
    s: Any = work.synthetic
    if hasattr(s, "codes"):
        return Synthetic(s.codes, s.code_labels, plain("kfs", s.bank), _normalise(context.device))
    if hasattr(s, "bases"):
        return Synthetic(s.bases, s.base_labels, plain("haba", s.bank))
    if hasattr(s, "bank"):
        return Synthetic(s.sources, s.source_labels, plain("upsample", s.bank))
    return Synthetic(s.sources, s.labels, [nn.Identity()])


def _normalise(device: torch.device) -> Callable[[Tensor], Tensor]:
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (SPACE.model.mean, SPACE.model.std))
    return lambda x: (x - mean) / std


def _optimizer(
    work: Distillation, chosen: DistillRecipe, parameters: Sequence[Sequence[Tensor]]
) -> torch.optim.Optimizer:
    """torch's own, with the rates of our groups."""
    assert chosen.schedule is not None
    groups = [dict(group) | {"params": list(own)} for group, own in zip(work.groups(), parameters, strict=False)]
    if chosen.schedule.optimizer == "sgd":
        return torch.optim.SGD([{k: g[k] for k in ("params", "lr", "momentum") if k in g} for g in groups])
    return torch.optim.Adam([{k: g[k] for k in ("params", "lr")} for g in groups], betas=chosen.schedule.betas)


def _matched(work: Distillation, context: Context, chosen: DistillRecipe) -> dict[str, Any]:
    synthetic, settings = _synthetic(work, context), _settings(chosen)
    return {
        "synthetic": synthetic,
        "optimizer": _optimizer(work, chosen, [own for own in ([synthetic.sources], synthetic.bank()) if own]),
        "names": [group["name"] for group in work.synthetic.groups()],
        "real": _real(context),
        "build": _build(context, settings.network, settings.width, "network"),
        "augment": context.augment,
    }


def _settings(chosen: DistillRecipe) -> Any:
    return chosen.objective


def _plain_dm(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    peer = DistributionMatching(**_matched(work, context, chosen))
    return peer.using(_settings(chosen).real_batch, context.seed, NETWORKS)


def _plain_dc(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    o, idc = _settings(chosen), _settings(chosen).train_on == "real"
    training = (o.network_batch, o.network_lr, o.network_momentum, o.network_decay)
    return GradientMatching(**_matched(work, context, chosen)).using(
        DcOptions(o.real_batch, o.outer, o.inner, idc, *training)
    )


def _plain_mtt(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    ours: Any = work.objective
    o, matching = _settings(chosen), getattr(ours, "inner", ours)
    make = TrajectoryMatching if matching is ours else HabaGame
    peer = make(
        deepcopy(matching.student.net),
        [[matching.experts(number, epoch) for epoch in range(EPOCHS + 1)] for number in range(o.experts.count)],
        o.syn_steps,
        o.expert_epochs,
        o.max_start,
        context.augment,  # type: ignore[arg-type]
        o.lr,
        _synthetic(work, context),
        lambda parameters: _optimizer(work, chosen, parameters),
    )
    if isinstance(peer, HabaGame):
        peer.play(deepcopy(ours.net), ours.settings.lr, ours.settings.momentum)
    return peer


def _plain_frepo(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    o, set_of_images = _settings(chosen), work.synthetic

    def build(seed: int) -> Network:
        return network(o.network, context.data.shape, context.classes, o.width, seed=seed).to(context.device)

    return FeatureRegression(
        set_of_images.get_parameter("sources"),
        set_of_images.get_parameter("rows"),
        _real(context),
        build,
        [derive(context.seed, "frepo", "network", number) for number in range(o.pool)],
        o.updates,
        o.batch,
        o.online_batch,
        context.data.shape[0] == 3,
        work.groups()[0]["lr"],
        o.isa.drop if o.name == "isa" else None,
    )


def _plain_gan(work: Gan | Distillation, adversary: Adversary, make: type[PlainGan], data: ImageData, batch: int) -> Any:
    synthetic: Any = work.synthetic
    (draw,) = plain("generator", deepcopy(synthetic.bank))
    draw.train()
    real = Real(data.raw(), data.labels)
    lr, lr_critic = work.groups()[0]["lr"], adversary.optimizer.param_groups[0]["lr"]
    peer = make(draw, deepcopy(adversary.critic), real, synthetic.config.noise, batch, lr, lr_critic)
    peer.opponent.load_state_dict(deepcopy(adversary.optimizer.state_dict()))
    return peer


def _plain_logits(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    o, objective = _settings(chosen), work.objective
    peer = _plain_gan(work, objective.adversary, PlainLogits, context.data, o.batch)  # type: ignore[attr-defined]
    build = _build(context, "convnet3", o.network_width, "teacher")
    augment, size = Dsa(o.augmentation), o.real_batch or o.batch
    return peer.teach(build, _normalise(context.device), augment, o.real_steps, size, o.share)  # type: ignore[no-any-return]


def _gan(data: ImageData, size: Size, folder: Path) -> Method:
    """DiM's first stage, which is no objective of its own."""
    chosen = recipe("dim", _dim(size))
    context, settings = _context(data, chosen, folder), _settings(chosen).gan
    synthetic: Any = chosen.parameterization.build(context)
    adversary = Adversary(settings, data.shape, context.classes, size.generator, context.seed).to(context.device)
    work = Gan(synthetic, adversary, data)
    return Method(work, settings.schedule(len(data)), lambda: _plain_gan(work, adversary, PlainGan, data, settings.batch))


GAN = "generator, GAN"
_LOOP = "a loop over classes, one over decoders, one backward of the sum"
_DC = "a loop over classes; the gradient reaches the network's weights, too, as released"
_UNROLLED = "all of the student's steps in one graph"
_GAME = f"{_UNROLLED}, each step decodes anew; the adversary has a pass of its own"
_KERNEL = "both kernels in full, `linalg.solve`; torch's Adam on both sides"
CASES: Mapping[str, Case] = {
    "KFS × DM, all real images": Case(
        "kfs", _kfs, _plain_dm, f"embeds all real images again each step; {_LOOP}", goal=2.0
    ),
    "KFS × DM, real batch": Case("kfs", _kfs_batch, _plain_dm, _LOOP),
    "HaBa × DM": Case("haba-dm", _haba_dm, _plain_dm, _LOOP, goal=2.0),
    "images × DM": Case("dm", _dm, _plain_dm, _LOOP),
    "images × DC": Case("dc", _dc, _plain_dc, f"{_DC}; one backward of the sum over classes"),
    "IDC": Case("idc", _idc, _plain_dc, f"{_DC}; a loop over patches; one backward a class"),
    "images × MTT": Case("mtt", _mtt, _plain_mtt, _UNROLLED),
    "images × MTT, all graphs kept": Case("mtt", _all_graphs, _plain_mtt, _UNROLLED),
    "images × MTT, no graph kept": Case("mtt", _no_graphs, _plain_mtt, _UNROLLED),
    "HaBa × MTT, min-max": Case("haba", _haba_mtt, _plain_mtt, _GAME, goal=2.0),
    "HaBa × MTT, min-max, all graphs kept": Case("haba", _haba_mtt_graphs, _plain_mtt, _GAME, goal=2.0),
    "images × FRePo": Case("frepo", _frepo, _plain_frepo, _KERNEL),
    "images × ISA": Case("isa", _frepo, _plain_frepo, _KERNEL),
    "generator × logits": Case("dim", _dim, _plain_logits, "each side and each player passes through the critic alone"),
}
ROWS = (*CASES, GAN)

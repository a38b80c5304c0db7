"""Makes each straightforward implementation from the state of dsetpack's work before its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from benchmarks.cases.plain.decoders import modules_of
from benchmarks.cases.plain.gan import Gan as PlainGan
from benchmarks.cases.plain.gan import LogitMatching as PlainLogits
from benchmarks.cases.plain.matching import DcOptions, DistributionMatching, GradientMatching
from benchmarks.cases.plain.peer import Peer, Real, Synthetic
from benchmarks.cases.plain.regression import FeatureRegression
from benchmarks.cases.plain.trajectory import HabaGame, TrajectoryMatching
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.gan import Adversary, Gan
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.objectives.logits import LogitMatching
from dsetpack.trainers.recipe import DistillRecipe
from dsetpack.trainers.seeds import derive
from dsetpack.training.augment import Dsa

Made = TypeVar("Made", bound=PlainGan)


def _build(context: Context, name: str, width: int | None, *path: str) -> Callable[[int], Network]:
    """A function that makes networks by number, or by seed if no path is given.

    It holds no reference to images, since memory is measured.
    """
    seed, shape, classes, device = context.seed, context.data.shape, context.classes, context.device

    def build(number: int) -> Network:
        own = derive(seed, *path, number) if path else number
        return network(name, shape, classes, width, seed=own).to(device)

    return build


def _real(context: Context) -> Real:
    return Real(context.real, context.data.labels)


def _synthetic(work: Distillation, context: Context) -> Synthetic:
    """A copy of the set as sources and one module per decoder."""
    s: Any = work.synthetic
    if not hasattr(s, "bank"):
        return Synthetic(s.sources, s.labels, [nn.Identity()])
    bank = deepcopy(s.bank)
    if hasattr(s, "codes"):
        return Synthetic(s.codes, s.code_labels, [*modules_of("kfs", bank)], _normalise(context))
    if hasattr(s, "bases"):
        return Synthetic(s.bases, s.base_labels, [*modules_of("haba", bank)])
    return Synthetic(s.sources, s.source_labels, [*modules_of("upsample", bank)])


def _normalise(context: Context) -> Callable[[Tensor], Tensor]:
    """A function that maps images in [0, 1] into the pixel space of the context."""
    model: Any = context.space.model
    mean, std = (torch.tensor(v, device=context.device).view(1, -1, 1, 1) for v in (model.mean, model.std))
    return lambda x: (x - mean) / std


def _optimizer(
    work: Distillation, chosen: DistillRecipe, parameters: Sequence[Sequence[Tensor]]
) -> torch.optim.Optimizer:
    """An optimiser of torch with the settings of dsetpack's parameter groups."""
    assert chosen.schedule is not None
    groups = [dict(group) | {"params": list(own)} for group, own in zip(work.groups(), parameters, strict=False)]
    if chosen.schedule.optimizer == "sgd":
        return torch.optim.SGD([{k: g[k] for k in ("params", "lr", "momentum") if k in g} for g in groups])
    return torch.optim.Adam([{k: g[k] for k in ("params", "lr")} for g in groups], betas=chosen.schedule.betas)


def _matched(work: Distillation, context: Context, chosen: DistillRecipe) -> dict[str, Any]:
    """The arguments of distribution matching and gradient matching."""
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
    """The settings of the objective, without a type: each method has other fields."""
    return chosen.objective


def plain_dm(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    peer = DistributionMatching(**_matched(work, context, chosen))
    return peer.using(_settings(chosen).real_batch, context.seed, _settings(chosen).networks)


def plain_dc(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    o, idc = _settings(chosen), _settings(chosen).train_on == "real"
    training = (o.network_batch, o.network_lr, o.network_momentum, o.network_decay)
    return GradientMatching(**_matched(work, context, chosen)).using(
        DcOptions(o.real_batch, o.outer, o.inner, idc, *training)
    )


def plain_mtt(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    ours: Any = work.objective
    o, matching = _settings(chosen), getattr(ours, "inner", ours)
    make = TrajectoryMatching if matching is ours else HabaGame
    assert context.augment is not None
    peer = make(
        deepcopy(matching.student.net),
        [
            [matching.experts(number, epoch) for epoch in range(o.experts.epochs + 1)]
            for number in range(o.experts.count)
        ],
        o.syn_steps,
        o.expert_epochs,
        o.max_start,
        context.augment,
        o.lr,
        _synthetic(work, context),
        lambda parameters: _optimizer(work, chosen, parameters),
    )
    if isinstance(peer, HabaGame):
        peer.play(deepcopy(ours.net), ours.settings.lr, ours.settings.momentum)
    return peer


def plain_frepo(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    o, set_of_images = _settings(chosen), work.synthetic
    return FeatureRegression(
        set_of_images.get_parameter("sources"),
        set_of_images.get_parameter("rows"),
        _real(context),
        _build(context, o.network, o.width),
        [derive(context.seed, "frepo", "network", number) for number in range(o.pool)],
        o.updates,
        o.batch,
        o.online_batch,
        context.data.shape[0] == 3,
        work.groups()[0]["lr"],
        o.isa.drop if o.name == "isa" else None,
    )


def plain_gan(work: Gan | Distillation, adversary: Adversary, make: type[Made], data: ImageData, batch: int) -> Made:
    synthetic: Any = work.synthetic
    (draw,) = modules_of("generator", deepcopy(synthetic.bank))
    draw.train()
    real = Real(data.raw(), data.labels)
    lr, lr_critic = work.groups()[0]["lr"], adversary.optimizer.param_groups[0]["lr"]
    peer = make(draw, deepcopy(adversary.critic), real, synthetic.config.noise, batch, lr, lr_critic)
    peer.opponent.load_state_dict(deepcopy(adversary.optimizer.state_dict()))
    return peer


def plain_logits(work: Distillation, context: Context, chosen: DistillRecipe) -> Peer:
    o, objective = _settings(chosen), cast(LogitMatching, work.objective)
    peer = plain_gan(work, objective.adversary, PlainLogits, context.data, o.batch)
    build = _build(context, "convnet3", o.network_width, "teacher")
    augment, size = Dsa(o.augmentation), o.real_batch or o.batch
    return peer.teach(build, _normalise(context), augment, o.real_steps, size, o.share)

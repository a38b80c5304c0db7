"""From real images to a pack, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dsetpack.formats.card import Card, Labels, Provenance
from dsetpack.formats.errors import FormatError
from dsetpack.formats.presets import EncodingChoice
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Normalized, Raw, Space, Zca
from dsetpack.trainers import checkpoint, parallel
from dsetpack.trainers.arithmetic import precision
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import Distillation, logits
from dsetpack.trainers.objectives.adversary import Adversarial, hallucinated
from dsetpack.trainers.parameterizations import Parameterization
from dsetpack.trainers.recipe import DistillRecipe, SpaceName, as_json, for_data, recipe
from dsetpack.trainers.seeds import derive
from dsetpack.training.augment import Dsa
from dsetpack.version import __version__

CACHE = "DSETPACK_CACHE"
"""The environment variable that names the folder of caches; by default ``~/.cache/dsetpack``."""


def distill(
    data: ImageData,
    by: str | DistillRecipe = "kfs-cpu",
    *,
    ipc: int | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    encoding: EncodingChoice = "exact",
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    cache: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    run: Run | None = None,
) -> Pack:
    """Distil real training images.

    Args:
        data: the training images.
        by: a recipe, or its name: that of a method (``kfs``, ``kfs-cpu``) or of a table row; or a ``.toml`` file.
        ipc: the budget in images a class; by default the recipe's.
        settings: settings that differ from the named recipe's: ``{"schedule.steps": 1000}``.
        seed: of everything random. Same seed, device, threads and versions give the same pack.
        out: where to save the pack.
        encoding: how to save it.
        folder: for checkpoints and logs; by default ``<out>.run`` if there is an ``out``, else nothing is kept.
        resume: go on from the checkpoints in ``folder``.
        cache: folder for real means and experts; by default ``DSETPACK_CACHE`` or ``~/.cache/dsetpack``.
        device: where to compute.
        run: how to show progress, how often to save; its folder, name, recipe and resume are set here.

    Returns:
        the pack, on the CPU; its card has the evaluation recipe, the settings, and which of them are inferred.

    Raises:
        FormatError: unknown recipe or setting, a budget too small, a checkpoint of another recipe.
        DsetpackError: NaN; Interrupted: Ctrl-C. Both after saving.
    """
    chosen = choose(by, ipc, settings, data.name)
    chosen.parameterization.budget(data.shape, len(data.classes), chosen.ipc)
    context = context_for(data.to(device), chosen, seed, run_folder(folder, out), resume, cache, run or Run())
    synthetic, chosen = learn(context, chosen)
    pack = Pack(card_of(data, chosen, synthetic, seed), synthetic.parts(), synthetic.space.to("cpu"))
    if out is not None and not parallel.rank():
        pack.save(out, encoding=encoding)
    return pack


def choose(by: str | DistillRecipe, ipc: int | None, settings: Mapping[str, Any] | None, data: str) -> DistillRecipe:
    """The recipe that is asked for, as it applies to the data set of this name; see ``distill``."""
    asked = {**(settings or {}), **({} if ipc is None else {"ipc": ipc})}
    if isinstance(by, DistillRecipe) and asked:
        raise FormatError("settings change a recipe that is named; change a DistillRecipe itself")
    return for_data(by if isinstance(by, DistillRecipe) else recipe(by, asked), data)


def run_folder(folder: str | os.PathLike[str] | None, out: str | os.PathLike[str] | None) -> Path | None:
    """Where checkpoints and logs are; None where nothing is kept."""
    return Path(folder) if folder is not None else None if out is None else Path(f"{os.fspath(out)}.run")


Build = Callable[[Context], Parameterization]


def learn(
    context: Context, chosen: DistillRecipe, build: Build | None = None
) -> tuple[Parameterization, DistillRecipe]:
    """The set after all its steps, and the recipe with what was learned along.

    ``build`` makes the set that learning starts from, where that is not the recipe's parameterization alone.
    """
    with precision(chosen.precision, context.device):
        return _learned(context, chosen, (build or chosen.parameterization.build)(context))


def _learned(
    context: Context, chosen: DistillRecipe, synthetic: Parameterization
) -> tuple[Parameterization, DistillRecipe]:
    if chosen.objective is None or chosen.schedule is None:
        return synthetic, chosen
    if chosen.adversary is not None:
        hallucinated(synthetic)  # refuse before experts are trained
    objective = chosen.objective.build(context, synthetic)
    if chosen.adversary is not None:
        objective = Adversarial(objective, chosen.adversary, context, synthetic)
    work = Distillation(objective, synthetic)
    optimise(work, chosen.schedule, seed=derive(context.seed, "match"), run=context.run("match"))
    return synthetic, chosen.model_copy(update={"evaluation": objective.evaluation(chosen.evaluation)})


def _networks(chosen: DistillRecipe) -> Iterator[tuple[str, int | None]]:
    """Names and widths of all networks that a recipe names itself."""
    yield chosen.evaluation.arch, chosen.evaluation.width
    if chosen.adversary is not None:
        yield chosen.adversary.network, chosen.adversary.width
    if isinstance(chosen.objective, logits.LogitsSettings):
        yield from ((name, chosen.objective.network_width) for name in chosen.objective.networks)


def context_for(
    data: ImageData,
    chosen: DistillRecipe,
    seed: int,
    where: Path | None,
    resume: bool,
    cache: str | os.PathLike[str] | None,
    template: Run,
    *,
    space: Space | None = None,
    given: checkpoint.Recipe | None = None,
) -> Context:
    """What one distillation works on.

    Args:
        data: on the device that computes.
        chosen, seed, where, resume, cache, template: as for ``distill``; ``where`` is the folder.
        space: the pixel space, where the data do not define it.
        given: what else the result depends on, for checkpoints.

    Raises:
        FormatError: a class without images; a network that there is not, or that cannot take the images; an unfinished
            run is in the folder, and ``resume`` is not set.
    """
    for label in range(len(data.classes)):
        data.of_class(label)  # refused here: some methods would find out late, some never
    for name, width in _networks(chosen):
        network(name, data.shape, len(data.classes), width)
    identity = {"recipe": as_json(chosen), "data": data.digest, "labels": data.labels_digest, **(given or {})}
    if where is not None and not resume:
        for path in sorted(where.glob("*.pt")):
            if checkpoint.unfinished(path):
                raise FormatError(
                    f"{path} is the checkpoint of an unfinished run: resume it, remove it, or choose another folder"
                )

    def run(phase: str) -> Run:
        return Run(
            where, phase, identity, resume, template.every, template.show, template.tensorboard, template.on_step
        )

    return Context(
        data=data,
        space=(space or _space(chosen.space, data)).to(data.images.device),
        ipc=chosen.ipc,
        seed=seed,
        cache=_cache(cache),
        run=run,
        augment=None if chosen.siamese is None else Dsa(chosen.siamese),
    )


def _space(name: SpaceName, data: ImageData) -> Space:
    if name == "raw":
        return Raw()
    if name == "normalized":
        return Normalized.fit(data.images)
    return Zca.fit(data.raw().cpu(), variant="kornia" if name == "zca-kornia" else "frepo")


def card_of(data: ImageData, chosen: DistillRecipe, synthetic: Parameterization, seed: int) -> Card:
    """The card of a set that was distilled from these data."""
    ipc = chosen.ipc
    budget = chosen.parameterization.budget(data.shape, len(data.classes), ipc)
    learned = synthetic.targets() is not None
    settings = as_json(chosen)
    for key in ("evaluation", "augmentation", "figures", "title", "method", "data"):  # said elsewhere
        settings.pop(key, None)
    return Card(
        title=f"{data.name}, {chosen.method}, {ipc} image{'s' if ipc > 1 else ''} a class",
        classes=data.classes,
        shape=data.shape,
        space=synthetic.space.model,
        labels=Labels(kind="soft", centred=True) if learned else Labels(),
        epoch_rule=synthetic.epoch_rule,
        per_class=synthetic.per_class,
        recipe=chosen.evaluation,
        augmentation=chosen.augmentation,
        provenance=Provenance(
            dataset=data.name,
            dataset_digest=data.digest,
            method=chosen.method,
            settings={
                "seed": seed,
                **settings,
                "sources": budget.sources,
                "over_parameterisation": round(budget.over, 6),
            },
            budget_floats=budget.used,
            software={"dsetpack": __version__, "torch": torch.__version__},
        ),
    )


def _cache(cache: str | os.PathLike[str] | None) -> Path:
    if cache is not None:
        return Path(cache)
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "dsetpack")

"""From real images to a pack, in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import dsetpack
from dsetpack.formats.card import Card, Provenance
from dsetpack.formats.errors import FormatError
from dsetpack.formats.presets import EncodingChoice
from dsetpack.pack import Pack
from dsetpack.spaces import Normalized, Raw, Space
from dsetpack.trainers.checkpoint import Recipe
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run, optimise
from dsetpack.trainers.objectives import Distillation, DistributionMatching, NetworkPool, RealMeans
from dsetpack.trainers.parameterizations.kfs import Autoencoder, Kfs, start
from dsetpack.trainers.presets import INFERRED, NO_FLIP, Budget, KfsSettings, kfs_budget, kfs_settings
from dsetpack.trainers.seeds import derive

METHODS = ("kfs",)
CACHE = "DSETPACK_CACHE"
"""The environment variable that names the folder of caches; by default ``~/.cache/dsetpack``."""


def distill(
    data: ImageData,
    *,
    method: str = "kfs",
    ipc: int = 1,
    preset: str = "cpu",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    encoding: EncodingChoice = "exact",
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    cache: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    settings: Mapping[str, Any] | None = None,
    run: Run | None = None,
) -> Pack:
    """Distil real training images.

    Args:
        data: the training images.
        method: ``kfs``: latent codes and shared decoders by distribution matching.
        ipc: the budget: floats as many as in so many images a class.
        preset: ``cpu`` (minutes) or ``paper``.
        seed: of everything random. Same seed, device, threads and versions give the same pack.
        out: where to save the pack.
        encoding: how to save it.
        folder: for checkpoints and logs; by default ``<out>.run`` if there is an ``out``, else nothing is kept.
        resume: go on from the checkpoints in ``folder``.
        cache: folder for real means; by default ``DSETPACK_CACHE`` or ``~/.cache/dsetpack``.
        device: where to compute.
        settings: settings that differ from the preset's: ``{"matching.steps": 1000}``.
        run: how to show progress, how often to save; its folder, name, recipe and resume are set here.

    Returns:
        the pack, on the CPU; its card has the evaluation recipe, the settings, and which of them are inferred.

    Raises:
        FormatError: unknown method, preset or setting, a budget too small, a checkpoint of another recipe.
        DsetpackError: NaN; Interrupted: Ctrl-C. Both after saving.
    """
    if method not in METHODS:
        raise FormatError(f"no method {method!r}; there is {', '.join(METHODS)}")
    chosen = kfs_settings(preset, data.shape, ipc, settings, flip=data.name not in NO_FLIP)
    budget = kfs_budget(chosen, data.shape, len(data.classes), ipc)
    where = Path(folder) if folder is not None else None if out is None else Path(f"{os.fspath(out)}.run")
    recipe: Recipe = {
        "method": method,
        "ipc": ipc,
        "data": data.digest,
        "labels": data.labels_digest,
        "settings": chosen.model_dump(mode="json"),
    }
    template = run or Run()
    runs = {
        name: Run(where, name, recipe, resume, template.every, template.show, template.tensorboard, template.on_step)
        for name in ("pretrain", "match")
    }
    for phase in runs.values():
        phase.check_free()
    synthetic = _kfs(data.to(device), chosen, budget, seed, runs, _cache(cache))
    card = _card(data, chosen, budget, synthetic.space, {"ipc": ipc, "preset": preset, "seed": seed})
    pack = Pack(card, synthetic.parts(), synthetic.space.to("cpu"))
    if out is not None:
        pack.save(out, encoding=encoding)
    return pack


def _kfs(
    data: ImageData, settings: KfsSettings, budget: Budget, seed: int, runs: Mapping[str, Run], cache: Path
) -> Kfs:
    space: Space = Raw() if settings.space == "raw" else Normalized.fit(data.images)
    space = space.to(data.images.device)
    autoencoder = Autoencoder(
        settings.config(),
        data,
        batch=settings.pretrain_batch,
        lr=settings.pretrain_lr,
        width=settings.encoder_width,
        seed=seed,
    )
    optimise(autoencoder, settings.pretrain, seed=derive(seed, "pretrain"), run=runs["pretrain"])
    synthetic = start(
        autoencoder,
        settings.config(),
        space,
        codes=budget.codes,
        noise=settings.noise,
        seed=seed,
        lr_codes=settings.lr_codes,
        lr_decoders=settings.lr_decoders,
    )
    networks = min(settings.networks, settings.matching.steps)
    pool = NetworkPool(settings.network, settings.width, networks, seed, data.shape, len(data.classes))
    means = RealMeans(pool, data, space, cache)
    means.prepare(runs["match"].show)
    objective = DistributionMatching(means, share=settings.share, chunk=settings.chunk)
    optimise(Distillation(objective, synthetic), settings.matching, seed=derive(seed, "match"), run=runs["match"])
    return synthetic


def _card(data: ImageData, settings: KfsSettings, budget: Budget, space: Space, asked: dict[str, Any]) -> Card:
    ipc, preset = asked["ipc"], asked["preset"]
    return Card(
        title=f"{data.name}, KFS, {ipc} image{'s' if ipc > 1 else ''} a class",
        classes=data.classes,
        shape=data.shape,
        space=space.model,
        epoch_rule="product",
        recipe=settings.recipe,
        augmentation=settings.augmentation,
        provenance=Provenance(
            dataset=data.name,
            dataset_digest=data.digest,
            method="kfs",
            settings={
                **asked,
                **settings.model_dump(mode="json", exclude={"recipe", "augmentation"}),
                "codes": budget.codes,
                "over_parameterisation": round(budget.over, 6),
                "inferred": list(INFERRED[preset]),
            },
            budget_floats=budget.used,
            software={"dsetpack": dsetpack.__version__, "torch": torch.__version__},
        ),
    )


def _cache(cache: str | os.PathLike[str] | None) -> Path:
    if cache is not None:
        return Path(cache)
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "dsetpack")

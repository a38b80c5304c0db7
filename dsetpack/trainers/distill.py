"""``distill``: from real images to a pack, in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from dsetpack.formats.presets import EncodingChoice
from dsetpack.pack.pack import Pack
from dsetpack.trainers.card import card_of
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.job import Job, chosen_recipe
from dsetpack.trainers.loop import Run
from dsetpack.trainers.recipe import DistillRecipe


def distill(
    data: ImageData,
    recipe: str | DistillRecipe = "kfs-cpu",
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
    """Distill real training images.

    Args:
        data: the training images.
        recipe: a recipe, or its name: that of a method (``kfs``, ``kfs-cpu``) or of a table row; or a ``.toml`` file.
        ipc: the budget in images per class; by default the recipe's.
        settings: settings that differ from the named recipe's: ``{"schedule.steps": 1000}``.
        seed: the seed of everything random. The same seed, device, threads and versions give the same pack.
        out: where to save the pack.
        encoding: how to save it.
        folder: the folder for checkpoints and logs; by default ``<out>.run`` if ``out`` is given, else nothing is kept.
        resume: whether to continue from the checkpoints in ``folder``.
        cache: the folder for real means, experts and DiM's generators, which later runs with the same seed find there;
            by default ``DSETPACK_CACHE`` or ``~/.cache/dsetpack``. A notice says how large it will be, from 1 GB on.
        device: where to compute.
        run: how to show progress and how often to save; its folder, name, recipe and resume are set here.

    Returns:
        the pack, on the CPU; its card has the evaluation recipe, the settings, and which of them are inferred.

    Raises:
        FormatError: if the recipe or a setting is unknown, if the budget is too small, or if the checkpoint belongs to
            another recipe.
        DsetpackError: if a value becomes NaN or infinite; the last good state is saved.
        Interrupted: on Ctrl-C or SIGTERM; the state is saved.
    """
    job = Job.of(
        chosen_recipe(recipe, ipc, settings, data.name),
        seed=seed,
        out=out,
        encoding=encoding,
        folder=folder,
        resume=resume,
        cache=cache,
        device=device,
        run=run,
    )
    job.recipe.parameterization.budget(data.shape, len(data.classes), job.recipe.ipc)  # refuse before any work
    learned = job.learn_or_share(job.context(data))
    synthetic = learned.synthetic
    return job.finish(Pack(card_of(data, job.recipe, learned, seed), synthetic.parts(), synthetic.space.to("cpu")))

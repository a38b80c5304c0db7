"""``Job``: what a call of ``distill``, or all stages of ``distill_stages``, need besides the images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dsetpack.formats.card import Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.presets import EncodingChoice
from dsetpack.loading.device import device_name
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Normalized, Raw, Space, Zca
from dsetpack.trainers import checkpoint, parallel
from dsetpack.trainers.arithmetic import precision
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import Distillation
from dsetpack.trainers.objectives.adversary import Adversarial, hallucinated
from dsetpack.trainers.parameterizations import Parameterization
from dsetpack.trainers.recipe import DistillRecipe, SpaceName, as_json, for_data, load_recipe
from dsetpack.trainers.seeds import derive
from dsetpack.trainers.shared_set import SharedSet
from dsetpack.training.augment import Dsa

CACHE = "DSETPACK_CACHE"
"""The environment variable that names the folder of caches; by default ``~/.cache/dsetpack``."""
Where = str | os.PathLike[str]
Build = Callable[[Context], Parameterization]


class Learned(NamedTuple):
    """The set after all steps, and the recipe's evaluation, updated with what was learned with the set."""

    synthetic: Parameterization
    evaluation: Recipe


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        recipe: the recipe as it applies to the data.
        seed: the seed of everything random.
        folder: the folder for checkpoints and logs; None keeps nothing.
        resume: whether to continue from the checkpoints in ``folder``.
        cache: the folder for results that other runs can use again.
        device: where to compute.
        run: how to show progress and how often to save.
        out, encoding: where and how to save the pack; ``out`` None saves nothing.
    """

    recipe: DistillRecipe
    seed: int
    folder: Path | None
    resume: bool
    cache: Path
    device: torch.device | str
    run: Run
    out: Where | None
    encoding: EncodingChoice

    @staticmethod
    def of(
        recipe: DistillRecipe,
        *,
        seed: int = 0,
        out: Where | None = None,
        encoding: EncodingChoice = "exact",
        folder: Where | None = None,
        resume: bool = False,
        cache: Where | None = None,
        device: torch.device | str = "cpu",
        run: Run | None = None,
    ) -> Job:
        """Make the job that the arguments of ``distill`` describe; they have the same names there."""
        if folder is None and out is not None:
            folder = f"{os.fspath(out)}.run"
        kept = None if folder is None else Path(folder)
        return Job(recipe, seed, kept, resume, _cache(cache), device_name(device), run or Run(), out, encoding)

    def context(
        self,
        data: ImageData,
        *,
        seed: int | None = None,
        folder: Path | None = None,
        space: Space | None = None,
        given: checkpoint.Identity | None = None,
    ) -> Context:
        """Make the context of one distillation, after checks that come before any computation.

        Args:
            data: the real images; they are moved to the job's device.
            seed, folder: used instead of the job's.
            space: the pixel space; None to fit it to the data.
            given: what else the result depends on, for checkpoints.

        Raises:
            FormatError: if a class has no images, if the recipe names a network that does not exist or cannot take the
                images, or if the folder holds an unfinished run and ``resume`` is not set.
        """
        data, folder = data.to(self.device), folder or self.folder
        for label in range(len(data.classes)):
            data.of_class(label)  # refuse here: some methods would notice late, some never
        for name, width in _networks(self.recipe):
            network(name, data.shape, len(data.classes), width)
        if folder is not None and not self.resume:
            for path in sorted(folder.glob("*.pt")):
                checkpoint.check_free(path)
        identity = {"recipe": as_json(self.recipe), "data": data.digest, "labels": data.labels_digest, **(given or {})}
        return Context(
            data=data,
            space=(space or _space(self.recipe.space, data)).to(data.images.device),
            ipc=self.recipe.ipc,
            seed=self.seed if seed is None else seed,
            cache=self.cache,
            run=lambda phase: self.run.phase(phase, folder, identity, self.resume),
            augment=None if self.recipe.siamese is None else Dsa(self.recipe.siamese),
        )

    def learn(self, context: Context, build: Build | None = None) -> Learned:
        """Make the set and run all its steps.

        Args:
            context: made by ``context``.
            build: makes the set that learning starts from; None for the recipe's parameterization.
        """
        with precision(self.recipe.precision, context.device):
            synthetic = (build or self.recipe.parameterization.build)(context)
            return Learned(synthetic, self._matched(context, synthetic))

    def learn_or_share(self, context: Context) -> Learned:
        """``learn`` the recipe's set, or take it from the cache if another budget's run has learned the same.

        A run that continues from a checkpoint goes on by itself.
        """
        if not self.recipe.parameterization.every_budget or self.recipe.objective is None:
            return self.learn(context)
        begun = self.resume and self.folder is not None and any(self.folder.glob("*.pt"))
        with precision(self.recipe.precision, context.device):
            shared = SharedSet(self.recipe, context)
            synthetic = self.recipe.parameterization.build(context)
            if not begun and shared.load(synthetic):
                return Learned(synthetic, self.recipe.evaluation)
            learned = self.learn(context, lambda _: synthetic)
            shared.keep(learned.synthetic)
            return learned

    def _matched(self, context: Context, synthetic: Parameterization) -> Recipe:
        recipe = self.recipe
        if recipe.objective is None or recipe.schedule is None:
            return recipe.evaluation
        if recipe.adversary is not None:
            hallucinated(synthetic)  # refuse before experts are trained
        objective = recipe.objective.build(context, synthetic)
        if recipe.adversary is not None:
            objective = Adversarial(objective, recipe.adversary, context, synthetic)
        work = Distillation(objective, synthetic)
        optimise(work, recipe.schedule, seed=derive(context.seed, "match"), run=context.run("match"))
        return objective.evaluation(recipe.evaluation)

    def finish(self, pack: Pack) -> Pack:
        """Save the pack if the job says so, in the first of several processes only; return it."""
        if self.out is not None and not parallel.rank():
            pack.save(self.out, encoding=self.encoding)
        return pack


def chosen_recipe(
    recipe: str | DistillRecipe, ipc: int | None, settings: Mapping[str, Any] | None, data: str
) -> DistillRecipe:
    """The requested recipe, as it applies to the data set named ``data``; see ``distill``.

    Raises:
        FormatError: if the recipe or a setting does not exist, or if settings are given for a ``DistillRecipe``.
    """
    asked = {**(settings or {}), **({} if ipc is None else {"ipc": ipc})}
    if isinstance(recipe, DistillRecipe) and asked:
        raise FormatError("settings can only change a recipe given by name; change the DistillRecipe itself")
    return for_data(recipe if isinstance(recipe, DistillRecipe) else load_recipe(recipe, asked), data)


def _networks(recipe: DistillRecipe) -> Iterator[tuple[str, int | None]]:
    """Names and widths of the networks that a recipe's evaluation, adversary and logit matching name."""
    yield recipe.evaluation.arch, recipe.evaluation.width
    if recipe.adversary is not None:
        yield recipe.adversary.network, recipe.adversary.width
    if recipe.objective is not None:
        yield from recipe.objective.named_networks()


def _space(name: SpaceName, data: ImageData) -> Space:
    if name == "raw":
        return Raw()
    if name == "normalized":
        return Normalized.fit(data.images)
    return Zca.fit(data.raw().cpu(), variant="kornia" if name == "zca-kornia" else "frepo")


def _cache(cache: Where | None) -> Path:
    if cache is not None:
        return Path(cache)
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "dsetpack")

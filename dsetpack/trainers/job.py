"""``Job``: what one call of ``distill``, or all stages of ``distill_stages``, depend on besides the images."""

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
from dsetpack.trainers.recipe import DistillRecipe, SpaceName, as_json, for_data, load_recipe
from dsetpack.trainers.seeds import derive
from dsetpack.training.augment import Dsa

CACHE = "DSETPACK_CACHE"
"""The environment variable that names the folder of caches; by default ``~/.cache/dsetpack``."""
Where = str | os.PathLike[str]
Build = Callable[[Context], Parameterization]


class Learned(NamedTuple):
    """The set after all its steps, and how to train on it: the recipe's evaluation with what was learned along."""

    synthetic: Parameterization
    evaluation: Recipe


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        recipe: as it applies to the data.
        seed: of everything random.
        folder: for checkpoints and logs; None keeps nothing.
        resume: whether to go on from the checkpoints there.
        cache: folder for what other runs can use again.
        device: where to compute.
        run: how to show progress and how often to save.
        out, encoding: where and how to save the pack; None saves nothing.
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
        """The job that the arguments of ``distill`` describe, by their names there."""
        if folder is None and out is not None:
            folder = f"{os.fspath(out)}.run"
        kept = None if folder is None else Path(folder)
        return Job(recipe, seed, kept, resume, _cache(cache), device, run or Run(), out, encoding)

    def context(
        self,
        data: ImageData,
        *,
        seed: int | None = None,
        folder: Path | None = None,
        space: Space | None = None,
        given: checkpoint.Recipe | None = None,
    ) -> Context:
        """What one distillation works on, checked before anything is computed.

        Args:
            data: the real images; they are moved to the job's device.
            seed, folder: in place of the job's.
            space: the pixel space, where the data do not define it.
            given: what else the result depends on, for checkpoints.

        Raises:
            FormatError: if a class has no images, if the recipe names a network that does not exist or cannot take the
                images, or if the folder holds an unfinished run and ``resume`` is not set.
        """
        data, folder = data.to(self.device), folder or self.folder
        for label in range(len(data.classes)):
            data.of_class(label)  # refused here: some methods would find out late, some never
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
            context: from ``context``.
            build: makes the set that learning starts from, where that is not the recipe's parameterization alone.
        """
        with precision(self.recipe.precision, context.device):
            synthetic = (build or self.recipe.parameterization.build)(context)
            return Learned(synthetic, self._matched(context, synthetic))

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
        """Save the pack where the job says so; of several processes, the first one does."""
        if self.out is not None and not parallel.rank():
            pack.save(self.out, encoding=self.encoding)
        return pack


def chosen_recipe(
    recipe: str | DistillRecipe, ipc: int | None, settings: Mapping[str, Any] | None, data: str
) -> DistillRecipe:
    """The recipe that is asked for, as it applies to the data set of this name; see ``distill``.

    Raises:
        FormatError: if there is no such recipe or setting, or if settings are to change a ``DistillRecipe``.
    """
    asked = {**(settings or {}), **({} if ipc is None else {"ipc": ipc})}
    if isinstance(recipe, DistillRecipe) and asked:
        raise FormatError("settings change a recipe that is named; change a DistillRecipe itself")
    return for_data(recipe if isinstance(recipe, DistillRecipe) else load_recipe(recipe, asked), data)


def _networks(recipe: DistillRecipe) -> Iterator[tuple[str, int | None]]:
    """Names and widths of all networks that a recipe names itself."""
    yield recipe.evaluation.arch, recipe.evaluation.width
    if recipe.adversary is not None:
        yield recipe.adversary.network, recipe.adversary.width
    if isinstance(recipe.objective, logits.LogitsSettings):
        yield from ((name, recipe.objective.network_width) for name in recipe.objective.networks)


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

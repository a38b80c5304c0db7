"""Distillation for a continual learner: stage after stage, each from the images of its own classes only.

The result is one pack. Each stage is a part of it, with the stage's number and the sources of its classes; labels are
the numbers that classes have in the whole data. A stage depends only on what the pack already holds (its decoders and
its pixel space), the stage's own images, the recipe and the seed. So stages in one go, resumed, or added one by one to
a pack give the same sources.

In KFS (Lee et al. 2022, section 4, "Continual learning", and appendix A), stage 0 pre-trains and learns decoders and
codes; later stages keep the decoders and learn codes. Each stage takes all steps of the schedule, and its rates are
multiplied by 0.2 after 1/4 and 3/4 of them: the paper's 5000 and 15,000 of 20,000. A shipped recipe gets these
milestones instead of those that it has for a single stage, unless they are set; a ``DistillRecipe`` or a ``.toml`` file
is used unchanged. With other parameterizations each stage is distilled on its own, and each part has its own bank.

Inferred, because no paper states it:

- The pixel space is that of stage 0's images (mean and deviation, or ZCA), because the learner has seen no others then.
- The budget of a stage is ``ipc`` images of each of its classes. KFS's decoders count in stage 0, so later stages have
  more codes per class: by the decoders' floats, divided by a code's size and the number of stage 0's classes. Set
  ``parameterization.sources`` for equally many.
- How KFS's codes of later stages start: see ``parameterizations.kfs``.
- Learned labels are centred over the classes of their stage while they are learned, and over all classes in the pack:
  one-hot rows stay one-hot.
- Each stage learns its own learning rate (MTT); the card has their mean, and each stage's rate is among the settings.

Several processes give the same as one, up to rounding: within 1e-5 in stage 0. In KFS's later stages an encoder learns
for decoders that differ in their last digits, and the codes then differ a little more (tested: 1e-4 after 40 steps of
the encoder and 5 of matching).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsetpack.decoders import Decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.presets import EncodingChoice
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Space, as_space
from dsetpack.trainers import checkpoint, staging
from dsetpack.trainers.card import card_of
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.job import Build, Job, chosen_recipe
from dsetpack.trainers.loop import Run
from dsetpack.trainers.parameterizations import Parameterization, kfs
from dsetpack.trainers.recipe import DistillRecipe
from dsetpack.trainers.seeds import derive
from dsetpack.trainers.staging import Stage

KFS_SCHEDULE: Mapping[str, Any] = {"schedule.milestones": (0.25, 0.75), "schedule.gamma": 0.2}
"""The schedule of every stage of KFS, with milestones as shares of its steps (appendix A)."""


def distill_stages(
    data: ImageData,
    stages: Sequence[Sequence[int]],
    recipe: str | DistillRecipe = "kfs-cpu",
    *,
    ipc: int | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    space: Space | None = None,
    out: str | os.PathLike[str] | None = None,
    encoding: EncodingChoice = "exact",
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    cache: str | os.PathLike[str] | None = None,
    device: torch.device | str = "cpu",
    run: Run | None = None,
) -> Pack:
    """Distill real training images in stages.

    Args:
        data: the training images of all stages.
        stages: the classes of each stage, by number; a class that is in no stage is left out.
        recipe, settings: as for ``distill``, for every stage.
        ipc: the budget in images per class of each stage; by default the recipe's.
        space: the pixel space of all stages, of the kind that the recipe names; by default that of stage 0's images.
        seed, out, encoding, cache, device, run: as for ``distill``.
        folder: as for ``distill``; each stage has a folder ``stage-N`` in it.
        resume: whether to continue from the checkpoints there; finished stages are not repeated.

    Returns:
        the pack, on the CPU: part N is stage N.

    Raises:
        FormatError: as ``distill``.
        FormatError: before anything is computed, if the space is of another kind than the recipe's, if there are no
            stages, or if a stage has no classes, an unknown class, a class of another stage, or one without images.
        FormatError: if the parameterization cannot make a part for only some classes (a generator).
        DsetpackError: as ``distill``.
        Interrupted: as ``distill``.
    """
    job = Job.of(
        _chosen(recipe, ipc, settings, data.name),
        seed=seed,
        out=out,
        encoding=encoding,
        folder=folder,
        resume=resume,
        cache=cache,
        device=device,
        run=run,
    )
    if space is not None:
        staging.check_space(as_space(space).model, job.recipe, "the given one")
    groups = staging.checked(data, stages)
    for number, classes in enumerate(groups):
        staging.budget(job.recipe, data, classes, number)
    work = _Stages(job, space)
    work.check_free(len(groups))
    pack = None
    for classes in groups:
        pack = work.stage(data, classes, pack)
    assert pack is not None
    return job.finish(pack)


def add_stage(
    pack: Pack,
    data: ImageData,
    classes: Sequence[int],
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
    """Distill one more stage and add it to a pack.

    With the same arguments as the ``distill_stages`` that made the pack, the new part is the one that
    ``distill_stages`` would have made, if the pack holds decoders and space exactly (encoding ``exact``). KFS uses the
    pack's decoders unchanged.

    Args:
        pack: the pack of the stages so far; it is not changed.
        data: the stage's training images. Images of other classes may be among them and are not used; ``data.classes``
            are the pack's.
        classes: the stage's classes, by number.
        recipe, ipc, settings, seed, out, encoding, folder, resume, cache, device, run: as for ``distill_stages``.

    Returns:
        a pack with one more part, on the CPU; the part's stage is the next number. The augmentation stays the pack's,
        and so does the training recipe, except for a learned rate, whose mean over stages it has.

    Raises:
        FormatError: as ``distill_stages``.
        FormatError: if the data or the recipe do not fit the pack: other classes, image shape, pixel space, label kind
            or epoch rule, other decoders, or a class that the pack already has.
        DsetpackError: as ``distill``.
        Interrupted: as ``distill``.
    """
    job = Job.of(
        _chosen(recipe, ipc, settings, data.name),
        seed=seed,
        out=out,
        encoding=encoding,
        folder=folder,
        resume=resume,
        cache=cache,
        device=device,
        run=run,
    )
    pack = pack.to("cpu")
    number = staging.next_stage(pack)
    staging.check_fits(pack, data, job.recipe)
    [group] = staging.checked(data, [classes], staging.present(pack), number)
    staging.budget(job.recipe, data, group, number)
    return job.finish(_Stages(job).stage(data, group, pack))


@dataclass(frozen=True, eq=False)
class StageData:
    """Real images of one stage, which a replay memory can distill: ``memory.add_stage(StageData(images), "kfs-cpu")``.

    Attributes:
        images: the stage's images and no others; their list of classes is the memory's.
    """

    images: ImageData

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.images.shape

    @property
    def labels(self) -> Tensor:
        """The labels, int64 [N]."""
        return self.images.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all classes."""
        return self.images.classes

    def distill_stage(
        self, pack: Pack | None, recipe: str | DistillRecipe, *, show: bool | None = None, **options: Any
    ) -> Pack:
        """Make a pack with one more stage, learned from these images alone; ``ReplayMemory.add_stage`` calls this.

        Args:
            pack: the pack of the stages so far; None if this is the first stage.
            recipe, options: further arguments of ``add_stage``.
            show: whether to show progress; None: only on a terminal.

        Raises:
            FormatError: as ``add_stage``.
        """
        classes = sorted(set(self.labels.tolist()))
        options.setdefault("run", Run(show=show))
        if pack is None:
            return distill_stages(self.images, [classes], recipe, **options)
        return add_stage(pack, self.images, classes, recipe, **options)


@dataclass(frozen=True)
class _Stages:
    """The stages of one job. ``space`` is the pixel space of stage 0; None for that of its images."""

    job: Job
    space: Space | None = None

    def stage(self, data: ImageData, classes: Stage, pack: Pack | None) -> Pack:
        """Make the pack with one more stage, or with the first one if there is no pack yet."""
        job, number = self.job, 0 if pack is None else staging.next_stage(pack)
        own = staging.only(data, classes, number)
        bank = self._bank(pack)
        learned = job.learn(self._context(own, classes, number, pack, bank), self._start(pack, bank))
        synthetic = learned.synthetic
        record: checkpoint.Identity = {
            "classes": list(classes),
            "data": own.digest,
            **self._spent(data, classes, number),
        }
        if learned.evaluation.lr != job.recipe.evaluation.lr:
            record["lr"] = learned.evaluation.lr
        unlearned = learned._replace(evaluation=job.recipe.evaluation)  # each stage's rate is in its record
        before = card_of(own, job.recipe, unlearned, job.seed) if pack is None else pack.card
        card = staging.with_record(before, data, job.recipe, record)
        settings = job.recipe.parameterization
        parts = [staging.placed(part, data, classes, number, bank, settings) for part in synthetic.parts()]
        if pack is None:
            return Pack(card, parts, synthetic.space.to("cpu"))
        return Pack(card, [*pack.parts, *parts], pack.space)

    def _bank(self, pack: Pack | None) -> Decoder | None:
        """The decoders to keep; None if the stage makes its own."""
        settings = self.job.recipe.parameterization
        return (
            staging.frozen_bank(pack, settings) if pack is not None and isinstance(settings, kfs.KfsSettings) else None
        )

    def _context(self, own: ImageData, classes: Stage, number: int, pack: Pack | None, bank: Decoder | None) -> Context:
        given: checkpoint.Identity = {"classes": list(classes)}
        space = self.space if pack is None else pack.space
        if space is not None:
            given["space"] = staging.digest(space.tensors(), space.model)
        if bank is not None:
            given["bank"] = staging.digest(bank.state_dict())
        seed = derive(self.job.seed, "stage", number) if number else self.job.seed
        return self.job.context(own, seed=seed, folder=self._folder(number), space=space, given=given)

    def _start(self, pack: Pack | None, bank: Decoder | None) -> Build:
        settings = self.job.recipe.parameterization

        def build(context: Context) -> Parameterization:
            if bank is not None and isinstance(settings, kfs.KfsSettings):
                made: Parameterization = settings.build_later(context, bank)
            else:
                made = settings.build(context)
            if pack is not None:
                staging.check_alike(pack.card, made)  # refuse before matching
            return made

        return build

    def _spent(self, data: ImageData, classes: Stage, number: int) -> checkpoint.Identity:
        budget = staging.budget(self.job.recipe, data, classes, number)
        return {
            "sources": budget.sources,
            "floats": budget.used,
            "over_parameterisation": round(budget.over, 6),
        }

    def _folder(self, number: int) -> Path | None:
        return None if self.job.folder is None else self.job.folder / f"stage-{number}"

    def check_free(self, count: int) -> None:
        """Refuse to start over if some of ``count`` stages were begun, but not all have ended.

        Raises:
            FormatError: if that is the case and ``resume`` is not set.
        """
        where = self.job.folder
        if where is None or self.job.resume:
            return
        begun = {path.parent for path in where.glob("stage-*/*.pt")}
        wanted = begun | {where / f"stage-{number}" for number in range(count)}
        ended = [folder for folder in wanted if self._ended(folder)]
        if begun and len(ended) < len(wanted):
            raise FormatError(
                f"{where} holds an unfinished run: {len(ended)} of {len(wanted)} stages have ended. Resume it, "
                "remove it, or choose another folder"
            )

    def _ended(self, folder: Path) -> bool:
        files = sorted(folder.glob("*.pt"))
        last = self.job.recipe.objective is None or folder / "match.pt" in files
        return bool(files) and last and not any(checkpoint.unfinished(path) for path in files)


def _chosen(
    recipe: str | DistillRecipe, ipc: int | None, settings: Mapping[str, Any] | None, data: str
) -> DistillRecipe:
    """The recipe of every stage; a shipped recipe of KFS gets the paper's schedule for stages."""
    found = chosen_recipe(recipe, ipc, settings, data)
    shipped = not isinstance(recipe, DistillRecipe) and not str(recipe).endswith(".toml")
    if shipped and isinstance(found.parameterization, kfs.KfsSettings) and found.schedule is not None:
        return chosen_recipe(recipe, ipc, {**KFS_SCHEDULE, **(settings or {})}, data)
    return found

"""``ReplayMemory``: the past tasks of a continual learner, within a budget of bytes."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Protocol, Self, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dsetpack.formats import Limits, Reader
from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.axes import Axes
from dsetpack.formats.by_name import spelled
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.notices import notice
from dsetpack.formats.presets import PRESETS, Preset
from dsetpack.formats.source import Readable
from dsetpack.formats.words import plural
from dsetpack.loading.loader import PackLoader
from dsetpack.pack.arrays import as_codes, as_labels, class_names
from dsetpack.pack.opened import open_pack
from dsetpack.pack.pack import Pack
from dsetpack.replay import compatible, notes
from dsetpack.replay.budget import measured, same_form
from dsetpack.replay.contents import Contents, hard
from dsetpack.replay.intake import appended, reopened
from dsetpack.replay.mix import Batches, MixedLoader
from dsetpack.replay.shrink import BALANCES, Balance
from dsetpack.replay.units import parse_bytes
from dsetpack.spaces import Space, as_space

Task = str | int
FLOAT_BYTES: dict[Preset, float] = {"exact": 4, "f16": 2, "int8": 1, "int4": 0.5}
"""About how many bytes one value costs in each encoding."""


class Distillable(Protocol):
    """Real images that a method can distill, such as ``dsetpack.trainers.stages.StageData``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    def labels(self) -> Tensor:
        """int64 [N]."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all classes."""

    def distill_stage(self, pack: Pack | None, recipe: str, **options: Any) -> Pack:
        """Add to ``pack`` one more stage, learned from these images by a recipe; with None, make a new pack."""


class ReplayMemory:
    """Packs of past tasks, one per task, within a budget of bytes.

    The budget counts the bytes of the file that ``save`` writes: sources and labels at the memory's encoding, shared
    decoders once, and the file's structure. When the budget is exceeded, all tasks share the loss: the class with the
    most values (or the task, if ``balance`` says so) drops the source that was picked last, until everything fits.
    Within a part, the sources of each class are in the order in which they were picked; see ``dsetpack.replay.shrink``.

    Each change makes the file, so what is kept after it is what ``save`` writes: ``save`` drops nothing. The first time
    that a memory drops sources, a notice says so. A call that fails changes nothing.

    A task's values go through the encoding when the task is added; the values of earlier tasks stay as they are. After
    ``save`` the memory holds the values of the file, as after ``open``. They can differ from those before, if sources
    that were dropped had set the range of the codes.

    Args:
        budget: bytes, or text such as "2MB" or "1.5MiB".
        encoding: ``exact``, ``f16``, ``int8`` or ``int4``; see ``Pack.save``.
        classes: the names of all classes of all tasks, or their number; by default those of the first pack.
        space: the pixel space of the images; by default the first pack's.
        balance: ``class`` gives each class the same number of values, shared between its tasks; ``task`` gives each
            task the same number, shared between its classes.

    Raises:
        FormatError: if an argument is not valid.
    """

    def __init__(
        self,
        budget: int | str = "2MB",
        *,
        encoding: Preset = "int8",
        classes: Sequence[str] | int | None = None,
        space: Space | None = None,
        balance: Balance = "class",
    ) -> None:
        self._budget = parse_bytes(budget)
        if (known := spelled(PRESETS, encoding)) is None:
            raise FormatError(f"encoding {encoding!r}; expected one of {', '.join(PRESETS)}")
        if balance not in BALANCES:
            raise FormatError(f"balance {balance!r}; expected one of {', '.join(BALANCES)}")
        self._encoding, self._balance = cast(Preset, known), balance
        self._classes = None if classes is None else class_names(classes)
        self._space = None if space is None else as_space(space)
        self._contents: Contents | None = None
        self._pack: Pack | None = None
        self._full = False  # whether sources were dropped for the budget

    def __repr__(self) -> str:
        held = f"{plural(len(self.tasks), 'task')}, {plural(len(self), 'image')}"
        return f"ReplayMemory({held}, {self.bytes:,} of {self.budget:,} bytes)"

    def __len__(self) -> int:
        """The number of images, which is the number of (source, decoder) pairs."""
        return 0 if self._contents is None else len(self.pack)

    @property
    def budget(self) -> int:
        """The number of bytes that the file may have."""
        return self._budget

    @property
    def bytes(self) -> int:
        """The bytes of the file that ``save`` writes; 0 while the memory is empty."""
        return 0 if self._contents is None else self._contents.bytes

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, in the order in which they were added."""
        return () if self._contents is None else tuple(stage.task for stage in self._contents.stages)

    @property
    def space(self) -> Space | None:
        """The pixel space of the images; None if the memory is empty and will take the first pack's."""
        return self._space if self._contents is None else self._contents.space

    @property
    def pack(self) -> Pack:
        """The whole memory as one pack, which later changes of the memory do not affect.

        Raises:
            FormatError: if the memory is empty.
        """
        if self._pack is None:
            self._pack = self._held().pack()
        return self._pack

    @property
    def targets(self) -> Tensor:
        """The label of every image, without decoding: int64 [len], or float32 [len, classes]."""
        return self.pack.labels

    @property
    def task_of(self) -> Tensor:
        """The task of every image as an index into ``tasks``, without decoding: int64 [len]."""
        return torch.cat([torch.full((len(part) * part.slots,), part.stage, device="cpu") for part in self.pack.parts])

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of sources per task and class; classes without sources are left out."""
        if self._contents is None:
            return {}
        found, names = dict[str, dict[str, int]](), self._contents.card.classes
        for stage in self._contents.stages:
            counts = torch.bincount(torch.cat([hard(part) for part in stage.parts]), minlength=len(names))
            found[stage.task] = {name: n for name, n in zip(names, counts.tolist(), strict=True) if n}
        return found

    def add(self, pack: Pack, task: Task | None = None) -> None:
        """Add a pack, with all of its parts, as one task.

        If the budget does not hold everything, sources are dropped now, of this task and of earlier ones: of each class
        those that were picked last. A notice says so the first time; ``counts`` says what is left.

        Args:
            pack: a pack with the memory's classes, image shape and kind of labels. A pack in another pixel space is
                converted if its images stay the same (see ``compatible.in_space``). Equal decoders that the memory
                already holds are shared.
            task: the name of the task; by default its number.

        Raises:
            FormatError: if the pack does not fit, if the memory already has the task, or if the budget does not hold
                one source of each class of each task.

        Examples:
            >>> from dsetpack.replay import ReplayMemory
            >>> pack, memory = dsetpack.open("fashion-kfs.dpk"), ReplayMemory("50 kB")
            >>> memory.add(pack.select(classes=["Bag", "Coat"]), task="bags and coats")
            >>> memory.add(pack.select(classes=["Sneaker", "Ankle boot"]), task="shoes")
            >>> memory.tasks, len(memory)
            (('bags and coats', 'shoes'), 112)
        """
        if not isinstance(pack, Pack):
            raise FormatError(f"pack is a {type(pack).__name__}; a Pack expected, such as dsetpack.open(path)")
        self._append(pack, self._free_name(task))

    def add_arrays(
        self,
        images: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        task: Task | None = None,
        space: Space | None = None,
        *,
        axes: Axes | None = None,
    ) -> None:
        """Add images as one task; the first images of each class are kept the longest.

        Args:
            images, labels, space, axes: as for ``Pack.from_arrays``.
            task: as for ``add``.

        Raises:
            FormatError: as for ``add`` and ``Pack.from_arrays``, or if the memory is empty and was not given the
                classes of all tasks.
        """
        known = self._known_classes()
        if known is None:
            raise FormatError("which classes will there be in all tasks? Pass ReplayMemory(..., classes=10), or names")
        self._append(Pack.from_arrays(images, labels, classes=known, space=space, axes=axes), self._free_name(task))

    def extend(self, codes: ArrayLike | Tensor, labels: ArrayLike | Tensor, task: Task | None = None) -> None:
        """Add a task as sources alone, for the decoders that the memory has (KFS with frozen decoders).

        Args:
            codes: float [N, *shape of a source].
            labels: as for ``Pack.from_arrays``.
            task: as for ``add``.

        Raises:
            FormatError: as for ``add``, or if the memory does not have exactly one bank of decoders.
        """
        banks = {id(part.decoder): part for part in self.pack.parts if part.decoder.state_dict()}
        if len(banks) != 1:
            raise FormatError(f"the memory has {len(banks)} banks of decoders; codes can be added to one: add a pack")
        [like] = banks.values()
        part = replace(like, sources=as_codes(codes), labels=as_labels(labels, self.pack.card.classes)[0])
        self._append(Pack(self.pack.card, [part], self.pack.space), self._free_name(task))

    def add_stage(
        self,
        data: Distillable,
        recipe: str = "kfs-cpu",
        *,
        task: Task | None = None,
        budget: int | str | None = None,
        **options: Any,
    ) -> None:
        """Distill the images of a task, and add the result.

        The call fails at once if the memory's budget is smaller than a file with one blank image. How many bytes a
        stage takes is only known once it is distilled. With ``folder``, the stage is not lost if the memory's budget
        turns out to be too small: call ``resize``, and add the stage again with ``resume=True``. (``remove`` would
        change the stage's number, and with it its seed.)

        Args:
            data: the images of the task and no others; its list of classes is the memory's.
            recipe: the name of the recipe (``kfs``, ``haba-cpu``, ...). With KFS, later tasks keep the decoders of the
                first. All tasks have one pixel space, of the kind that the recipe names: the memory's if it was given
                one, otherwise that of the first task's images.
            task: as for ``add``.
            budget: the approximate bytes of this task: it gets the number of values that they hold at the memory's
                encoding. By default the recipe's budget.
            **options: further options of ``dsetpack.trainers.stages.add_stage``: ``settings``, ``seed``, ``device``,
                ``folder``, ``resume``, ``show`` (progress; by default on a terminal), ...

        Raises:
            FormatError: as for ``add``, or if the recipe or the images do not fit the memory, or if a class is in
                another task.
            DsetpackError: if distilling fails.
        """
        name = self._free_name(task)
        if not hasattr(data, "distill_stage"):
            raise FormatError(
                f"data is a {type(data).__name__}; images that a method can distill expected, such as "
                "dsetpack.trainers.stages.StageData(data)"
            )
        compatible.check_classes(data.classes, self._known_classes())  # now, not after hours of work
        self._check_begins(data)
        if budget is not None and "ipc" in options:
            raise FormatError("budget= and ipc= both set the number of images per class: give one of them")
        if "space" in options:
            raise FormatError("the pixel space is the memory's; settings={'space': kind} changes the recipe's kind")
        if budget is not None:
            options["ipc"] = self._images_a_class(data, budget)
        before = None if self._contents is None else self.pack
        if before is None and self._space is not None:
            options["space"] = self._space
        made = data.distill_stage(before, recipe, **options)
        new = [part for part in made.parts if before is None or part.stage >= len(self.tasks)]
        self._append(Pack(made.card, new, made.space), name, card_of_all=True)

    def remove(self, task: Task) -> None:
        """Remove a task and the decoders that it alone uses; without its only task, the memory is empty.

        Raises:
            FormatError: if the task does not exist.
        """
        held = self._held()
        if str(task) not in self.tasks:
            raise FormatError(f"task {str(task)!r} is not in the memory, which has {', '.join(self.tasks)}")
        left = held.without(str(task))
        if left is None:
            self._classes, self._space = held.card.classes, held.space
            self._contents = self._pack = None
        else:
            self._keep(left)

    def resize(self, budget: int | str) -> None:
        """Change the budget; a smaller budget drops sources now.

        Raises:
            FormatError: if the budget is not valid, or does not hold one source of each class of each task.
        """
        limit = parse_bytes(budget)
        if self._contents is not None:
            self._keep(self._contents, limit)
        self._budget = limit

    def keep_images(self, images: int) -> None:
        """Drop sources until at most ``images`` images can be decoded.

        Raises:
            FormatError: if one source of each class of each task makes more.
        """
        if self._contents is not None:
            self._keep(self._contents.at_most(images, self._balance))

    def loader(self, batch_size: int, **options: Any) -> PackLoader:
        """Make a loader of the memory's current contents; see ``Pack.loader``."""
        return self.pack.loader(batch_size, **options)

    def mix(self, new: Batches, ratio: float = 1.0, **options: Any) -> MixedLoader:
        """Make a loader of new data, mixed with rehearsal of the memory's current contents; see ``MixedLoader``.

        While the memory is empty, in the first task of a run, the loader gives the new data alone.
        """
        return MixedLoader(new, None if self._contents is None else self.pack, ratio, **options)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the memory as one pack whose stages are its tasks.

        An existing file is replaced completely or not at all. Everything that the memory holds is kept.

        Returns:
            the file's size in bytes, which is ``bytes``.

        Raises:
            FormatError: if the memory is empty.
            OSError: if the file cannot be written. Memory and file are then as before.
        """
        held, file = self._held(), self._held().made
        written = replace(reopened(open_pack(file.data), self.tasks), file=file, reuse=held.reuse)
        write_atomically(path, file.data)
        self._contents, self._pack = written, None
        return len(file.data)

    @classmethod
    def open(
        cls,
        where: Readable,
        *,
        budget: int | str | None = None,
        encoding: Preset | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """Open the memory in a file, and check every byte of it.

        Args:
            where: path, bytes, binary file object or fsspec URL of any pack whose parts all have sources.
            budget, encoding: by default the file's. A file that no memory wrote names no budget, and its encoding is
                ``int8`` by default. A pack that was selected or merged from memories has other stages than its notes
                say; with a budget, its tasks are named by their stages.
            limits: how much the file may declare.

        Raises:
            FormatError, IntegrityError, VersionError, LimitError: if the file is not a sound pack.
            FormatError: if there is no budget, if the budget does not hold one source of each class of each task, or if
                a part has no sources.
            OSError: if the file cannot be read.
        """
        with Reader(where, verify="all", limits=limits) as reader:
            compatible.check_stored([part.kind for part in reader.manifest.parts])
            data, name = b"".join(reader.blocks()), reader.name
        pack = open_pack(data, limits=limits)
        size = None if budget is None else parse_bytes(budget)
        with at(name):
            kept = notes.read(pack, size, encoding)
        made = cls(kept.budget, encoding=kept.encoding, balance=kept.balance)
        contents = made._noted(reopened(pack, kept.tasks), kept.budget)
        written = contents.written(kept.encoding)
        if contents.card == pack.card and _stages(contents) == _stages(pack) and same_form(written.made.data, data):
            written = replace(written, file=measured(data))  # so that saving it again gives the same file
        else:
            opened = reopened(open_pack(written.made.data), kept.tasks)
            written = replace(opened, file=written.file, reuse=written.reuse)
        made._keep(written)
        return made

    def _append(self, pack: Pack, name: str, *, card_of_all: bool = False) -> None:
        """Add a task. Everything is computed before anything changes."""
        compatible.check_classes(pack.card.classes, self._known_classes())
        pack = compatible.in_space(compatible.with_sources(pack), self.space or pack.space)
        self._keep(appended(self._contents, pack, name, self._encoding, card_of_all))

    def _keep(self, contents: Contents, limit: int | None = None) -> None:
        """Take contents, as much of them as a budget holds, by default the memory's."""
        limit = self._budget if limit is None else limit
        kept = self._noted(contents, limit).within(limit, self._balance, self._encoding)
        if kept.sources < contents.sources and not self._full:
            notice(
                f"a budget of {limit:,} bytes holds {kept.sources} of {plural(contents.sources, 'source')}: the "
                "others were dropped, those picked last, from the largest classes or tasks; each further task now "
                "displaces others without a notice, so raise the budget to keep more (counts() says what is left)"
            )
            self._full = True
        self._contents, self._pack = kept, None

    def _noted(self, contents: Contents, budget: int) -> Contents:
        """Write what ``open`` needs to know into the card."""
        tasks = tuple(stage.task for stage in contents.stages)
        with at("what the memory's file says"):
            kept = notes.Notes(
                budget=budget, encoding=self._encoding, balance=self._balance, tasks=tasks,
                classes=notes.classes_digest(contents.parts),
            )  # fmt: skip
        card = notes.write(contents.card, kept)
        return contents if card == contents.card else replace(contents, card=card, file=None)

    def _held(self) -> Contents:
        if self._contents is None:
            raise FormatError("the memory is empty: add a task first")
        return self._contents

    def _known_classes(self) -> tuple[str, ...] | None:
        return self._classes if self._contents is None else self._contents.card.classes

    def _check_begins(self, data: Distillable) -> None:
        """Check that the budget holds at least one blank image.

        Raises:
            FormatError: if it does not.
        """
        blank = Pack.from_arrays(torch.zeros(1, *data.shape, device="cpu"), [0], classes=data.classes, axes="NCHW")
        if (least := len(blank.to_bytes(self._encoding))) > self._budget:
            raise FormatError(
                f"a budget of {self._budget:,} bytes does not hold a file, which takes at least {least:,}"
            )

    def _free_name(self, task: Task | None) -> str:
        """The name of a task to be added."""
        if task is None:
            return next(name for name in map(str, itertools.count(len(self.tasks))) if name not in self.tasks)
        if isinstance(task, bool) or not isinstance(task, str | Integral) or task == "":
            raise FormatError(f"task {task!r}; expected a name or a number")
        if str(task) in self.tasks:
            raise FormatError(f"task {str(task)!r} is in the memory already: tasks are added once")
        return str(task)

    def _images_a_class(self, data: Distillable, budget: int | str) -> int:
        """The number of images per class that have the same number of values as a budget of bytes."""
        size = math.prod(data.shape) * FLOAT_BYTES[self._encoding] * len(set(data.labels.tolist()))
        if not (count := int(parse_bytes(budget) / size)):
            raise FormatError(
                f"a stage's budget of {parse_bytes(budget):,} bytes is less than one image per class, {size:,.0f} "
                f"bytes at the encoding {self._encoding}"
            )
        return count


def _stages(of: Contents | Pack) -> list[int]:
    """The stage of each part."""
    return [part.stage for part in of.parts]

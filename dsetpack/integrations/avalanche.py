"""A storage policy for Avalanche's ``ReplayPlugin``: a ``ReplayMemory`` as its buffer (avalanche-lib 0.6).

    space = Normalized(NormalizedSpace(mean=(0.286,), std=(0.353,)))  # as the benchmark's transforms normalise
    policy = ReplayPolicy(ReplayMemory("200kB", classes=10, space=space), max_size=2000)
    plugin = ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)

It has the interface of an ``ExemplarsBuffer``. The memory has the budget in bytes; ``max_size`` counts decoded images.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dsetpack.formats.errors import FormatError
from dsetpack.formats.extras import need_package
from dsetpack.loading.dataset import PackDataset
from dsetpack.loading.source import Transform
from dsetpack.pack.pack import Pack
from dsetpack.replay import ReplayMemory

__all__ = ["ReplayPolicy", "store_images"]

PACKAGE = "avalanche-lib>=0.6"
Store = Callable[[ReplayMemory, Tensor, Tensor, str], None]
"""A function that adds a task to a memory, from images float32 [N, C, H, W], labels int64 [N] and the task's name."""


def store_images(memory: ReplayMemory, images: Tensor, labels: Tensor, task: str) -> None:
    """Add images as they are; the memory keeps as many of them as its budget holds."""
    memory.add_arrays(images, labels, task, space=memory.space)


class ReplayPolicy:
    """A storage policy that adds each experience to a memory after training on it, and offers the memory as a dataset.

    Images are stored as the strategy's ``eval`` transforms make them, so they must be in the memory's pixel space: if
    the transforms normalise, give the memory that space. Decoded images are not transformed again.

    Each experience is a task that keeps at least one source per class. So a stream of many experiences over the same
    classes fills the memory, which is an error, unless ``store`` removes old ones with ``ReplayMemory.remove``.

    Args:
        memory: the memory. If it has tasks already, these have the task label 0.
        max_size: the largest number of decoded images, which ``ReplayPlugin`` calls ``mem_size``.
        store: adds an experience to the memory: ``store_images``, or a function that distills, such as
            ``lambda memory, x, y, task: memory.add_stage(own(memory.space.invert(x), y), "kfs-cpu", task=task)``, where
            ``own`` makes a ``StageData`` (see ``dsetpack.trainers.stages``) of raw images; give such a memory its
            space.
        transform: applied to each decoded image [C, H, W], such as an augmentation.
        seed: seed of the order in which the images of an experience are passed to ``store``.

    Raises:
        FormatError: if ``max_size`` is not a positive number.
    """

    def __init__(
        self,
        memory: ReplayMemory,
        max_size: int,
        *,
        store: Store = store_images,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        self.memory, self.max_size = memory, _positive(max_size)
        self._store, self._transform, self._seed = store, transform, seed
        self._labels: dict[str, int] = {}  # the task label of each task of the memory
        # Whether labels are tensors: all labels of a batch must be alike. The first experience tells which. Until then,
        # tensors work: new data come first in a batch, and they collate with either.
        self._tensors = True
        self._made: tuple[Pack, Any] | None = None

    @property
    def buffer(self) -> Any:
        """The memory as a read-only ``AvalancheDataset`` of (x, y, task label), decoded when accessed.

        It has ``targets`` and ``targets_task_labels``; neither decodes anything.

        Raises:
            DsetpackError: if Avalanche is not installed.
            FormatError: if labels are soft.
        """
        utils = need_package("avalanche.benchmarks.utils", PACKAGE)
        if not self.memory.tasks:
            return utils.concat_datasets([])
        pack = self.memory.pack
        if self._made is None or self._made[0] is not pack:
            self._made = pack, self._dataset(utils, pack)
        return self._made[1]

    def update(self, strategy: Any, **_: Any) -> None:
        """Add the strategy's experience; ``ReplayPlugin`` calls this after training on it."""
        self.post_adapt(strategy, strategy.experience)

    def post_adapt(self, agent_state: Any, exp: Any) -> None:  # noqa: ARG002
        """Add an experience as a task that is named by its number.

        Raises:
            FormatError: if the experience is in the memory already, has several task labels, or does not fit the
                memory, or if one source per class of each task makes more than ``max_size`` images. The memory is then
                as it was.
        """
        images, labels, task_label, tensors = _experience(exp, self._seed)
        task = f"experience {exp.current_experience}"
        if task in self.memory.tasks:
            raise FormatError(f"task {task!r} is in the memory already: each experience is stored once")
        with _whole(self.memory):
            self._store(self.memory, images, labels, task)
            self.memory.keep_images(self.max_size)
        self._tensors = tensors
        self._labels |= dict.fromkeys(set(self.memory.tasks) - set(self._labels), 0) | {task: task_label}

    def resize(self, strategy: Any, new_size: int) -> None:  # noqa: ARG002
        """Change the largest number of decoded images; if there are more, sources are dropped now.

        Raises:
            FormatError: if the number is not positive, or too small for one source of each class of each task.
        """
        size = _positive(new_size)
        self.memory.keep_images(size)
        self.max_size = size

    def _dataset(self, utils: Any, pack: Pack) -> Any:
        if pack.card.labels.kind != "hard":
            raise FormatError("the memory's labels are soft; Avalanche's datasets have hard ones")
        names = [self._labels.get(task, 0) for task in self.memory.tasks]
        attributes = {
            "targets": (pack.labels.tolist(), False),
            "targets_task_labels": ([names[task] for task in self.memory.task_of.tolist()], True),
        }
        return utils.TaskAwareSupervisedClassificationDataset(
            [_TensorLabels(pack.dataset(self._transform)) if self._tensors else pack.dataset(self._transform)],
            data_attributes=[
                utils.DataAttribute(values, name, use_in_getitem=shown) for name, (values, shown) in attributes.items()
            ],
        )


@contextmanager
def _whole(memory: ReplayMemory) -> Iterator[None]:
    """Change a memory in several steps; if one fails, undo all of them."""
    before = dict(vars(memory))
    try:
        yield
    except BaseException:
        vars(memory).update(before)
        raise


class _TensorLabels(Dataset[tuple[Tensor, Tensor]]):
    """A pack's dataset whose labels are tensors."""

    def __init__(self, data: PackDataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self._data[index]
        return x, torch.as_tensor(y)


def _experience(exp: Any, seed: int) -> tuple[Tensor, Tensor, int, bool]:
    """All images of an experience in random order, their labels, its task label, and whether labels were tensors."""
    dataset = exp.dataset.eval()
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    items = [dataset[number] for number in order]
    if not items:
        raise FormatError(f"experience {exp.current_experience} has no images")
    tasks = {int(item[2]) if len(item) > 2 else 0 for item in items}
    if len(tasks) > 1:
        raise FormatError(f"experience {exp.current_experience} has the task labels {sorted(tasks)}; one expected")
    images = torch.stack([torch.as_tensor(item[0]) for item in items]).float()
    labels = torch.tensor([int(item[1]) for item in items])
    return images, labels, tasks.pop(), isinstance(items[0][1], Tensor)


def _positive(size: int) -> int:
    try:
        found = operator.index(size)
    except TypeError:
        found = 0
    if found < 1:
        raise FormatError(f"max_size is {size!r}; expected how many decoded images there may be, at least 1")
    return found

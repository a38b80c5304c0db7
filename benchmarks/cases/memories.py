"""The memories of ``measure/continual.py``: made stage by stage, and kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.cases.continual import DISTILLED, REAL, Scale
from dsetpack.replay import ReplayMemory
from dsetpack.spaces import Normalized
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Run
from dsetpack.trainers.recipe import load_recipe
from dsetpack.trainers.seeds import derive, generator
from dsetpack.trainers.selections import select
from dsetpack.trainers.stages import StageData


@dataclass(frozen=True)
class Work:
    """What all rows of a run share."""

    data: ImageData
    test: ImageData
    scale: Scale
    runs: Path
    device: torch.device

    def order(self, seed: int) -> list[tuple[int, ...]]:
        """The classes of each stage, two by two."""
        order = torch.randperm(len(self.data.classes), generator=generator(seed, "classes")).tolist()
        return [tuple(order[at : at + 2]) for at in range(0, len(order), 2)]

    def folder(self, method: str, seed: int) -> Path:
        """The folder of the memories and checkpoints of a method."""
        return self.runs / f"{self.data.name}-{self.scale.name}" / f"{method}-{seed}-{self.scale.digest(method)}"

    def budget(self, classes: int) -> int:
        """The bytes that a memory may have, by its number of classes."""
        channels, height, width = self.data.shape
        return self.scale.per_class * channels * height * width * classes


def only(data: ImageData, classes: Sequence[int], most: int | None = None) -> ImageData:
    """The images of some classes; of each class the first ``most``, or all if it is None."""
    return data.take(torch.cat([data.of_class(label)[:most] for label in sorted(classes)]))


def memory_after(work: Work, method: str, seed: int, stage: int, log: dict[str, float]) -> ReplayMemory:
    """The memory after a stage; memories that are on disk are not made again."""
    folder = work.folder(method, seed)
    path = folder / f"stage-{stage}.dpk"
    classes = work.order(seed)
    budget = work.budget(sum(map(len, classes[: stage + 1])))
    if path.exists():
        return ReplayMemory.open(path)
    if stage:
        memory = memory_after(work, method, seed, stage - 1, log)
        memory.resize(budget)
    else:
        memory = ReplayMemory(budget, classes=work.data.classes)
    began = time.perf_counter()
    ADD[method](work, memory, method, classes[stage], seed, stage)
    log[str(stage)] = time.perf_counter() - began
    folder.mkdir(parents=True, exist_ok=True)
    memory.save(path)
    return memory


def add_distilled(work: Work, memory: ReplayMemory, method: str, classes: Sequence[int], seed: int, stage: int) -> None:
    """Distill a stage from its own images, and add the pack."""
    own, scale = only(work.data, classes, work.scale.real), work.scale
    memory.add_stage(
        StageData(own),
        method + scale.suffix,
        budget=work.budget(len(classes)),
        settings=dict(scale.settings.get(method, {})),
        seed=seed,
        device=work.device,
        folder=work.folder(method, seed) / f"run-{stage}",
        resume=True,
    )


def add_real(work: Work, memory: ReplayMemory, method: str, classes: Sequence[int], seed: int, stage: int) -> None:
    """Add as many real images as fit: three times the uncompressed number is offered, and the memory drops the rest.

    Images are stored as pixels, which takes a byte per value and loses nothing.
    """
    own = only(work.data, classes)
    least = int(torch.bincount(own.labels)[list(classes)].min())
    count = min(work.scale.per_class if method == "uncompressed" else 3 * work.scale.per_class, least)
    if method != "herding":
        draw = generator(seed, "random", stage)
        picked = [
            own.of_class(c)[torch.randperm(int((own.labels == c).sum()), generator=draw)[:count]] for c in classes
        ]
    else:
        picked = herded(work, own, classes, count, derive(seed, "herding", stage))
    index = torch.cat(picked)
    memory.add_arrays(own.images[index], own.labels[index])


def herded(work: Work, own: ImageData, classes: Sequence[int], count: int, seed: int) -> list[torch.Tensor]:
    """Pick images of the stage by herding, on features of a network that is trained on the same images."""
    order = sorted(classes)
    places = torch.tensor([order.index(label) for label in own.labels.tolist()])
    alone = ImageData(own.images, places, tuple(own.classes[label] for label in order), own.name).to(work.device)
    chosen = load_recipe("herding" + work.scale.suffix, dict(work.scale.settings.get("herding", {})))
    space = Normalized.fit(own.images).to(work.device)
    context = Context(alone, space, count, seed, work.runs / "cache", lambda phase: Run(name=phase), None)
    index = select("herding", context, count, chosen.parameterization.selection).cpu()  # type: ignore[attr-defined]
    return list(index.split(count))


ADD: dict[str, Callable[..., None]] = {
    **dict.fromkeys(DISTILLED, add_distilled),
    **dict.fromkeys(REAL, add_real),
}
"""What adds a stage to a memory, by method."""

"""The demonstration: distill the shipped sample, and compare the pack with real images in as many bytes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import dsetpack
from dsetpack.formats.atomic import write_atomically
from dsetpack.formats.card import Recipe
from dsetpack.pack.pack import Pack
from dsetpack.preview.grid import grid
from dsetpack.trainers.baselines import Baseline, images_within, measure_random, random_pack, stored_bytes
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.distill import distill
from dsetpack.trainers.evaluate import evaluate

SEEDS = 3
SUBSETS = 3
SETTINGS = {
    "parameterization.pretrain.steps": 200,
    "parameterization.encoder_width": 16,
    "schedule.steps": 100,
    "objective.networks": 10,
    "evaluation.steps": 250,
    "evaluation.batch_size": 64,
    "evaluation.width": 16,
}
"""The settings that the demo shortens in the recipe ``kfs-cpu``, to end within four minutes on two cores."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One row of the table: what networks were trained on, and the result. Accuracy in [0, 1], time in seconds."""

    name: str
    images: int
    bytes: int
    accuracy: float
    std: float | None
    runs: int
    seconds: float
    lr: float


@dataclass(frozen=True)
class Demo:
    """The results of the demonstration; times in seconds."""

    rows: tuple[Row, ...]
    recipe: Recipe
    distill_seconds: float
    seconds: float

    @property
    def lead(self) -> float:
        """By how many percentage points the pack beats random real images in as many bytes."""
        return 100 * (self.rows[0].accuracy - self.rows[1].accuracy)


def run(pack_path: Path, picture: Path, say: Say, seed: int = 0) -> Demo:
    """Distill the sample with KFS, write pack and picture, read the pack back, and measure it next to real images.

    Networks train on the pack and on the random images for the same number of optimiser steps under the same
    augmentation; the random images get the best of three learning rates, over several random subsets.

    Args:
        pack_path, picture: the files to write.
        say: called with a line before each part of the work.
        seed: the seed of everything random.
    """
    began = time.perf_counter()
    train, test = load("fashion-sample", split="train"), load("fashion-sample", split="test")
    say(f"distilling {len(train)} real images with KFS")
    distill(train, "kfs-cpu", seed=seed, out=pack_path, encoding="int8", settings=SETTINGS)
    distill_seconds = time.perf_counter() - began
    pack = dsetpack.open(pack_path)
    data = io.BytesIO()
    grid(pack).save(data, format="PNG")
    write_atomically(picture, data.getvalue())
    _read_through(pack)
    say(f"wrote {pack_path} ({pack_path.stat().st_size:,} bytes) and {picture}; training networks on both")
    rows = tuple(_rows(pack, pack_path.stat().st_size, train, test, seed))
    assert pack.card.recipe is not None
    return Demo(rows, pack.card.recipe, distill_seconds, time.perf_counter() - began)


def _read_through(pack: Pack) -> None:
    """Read the pack through torch's own DataLoader, and check that every image comes once and is finite."""
    batches = DataLoader(pack.dataset(), batch_size=256, shuffle=True)
    seen = sum(len(y) for x, y in batches if bool(torch.isfinite(x).all()))
    if seen != len(pack):
        raise AssertionError(f"{seen} of {len(pack)} images came through the DataLoader")


def _rows(pack: Pack, size: int, train: ImageData, test: ImageData, seed: int) -> list[Row]:
    def timed(name: str, images: int, measure: Callable[[], tuple[int, float, float | None, int, float]]) -> Row:
        start = time.perf_counter()
        stored, accuracy, std, runs, lr = measure()
        return Row(name, images, stored, accuracy, std, runs, time.perf_counter() - start, lr)

    recipe = pack.card.recipe
    assert recipe is not None
    classes = len(pack.card.classes)
    alike = images_within(train, size, seed)
    whole = int(torch.bincount(train.labels).min())

    def of_pack() -> tuple[int, float, float | None, int, float]:
        found = evaluate(pack, test, seeds=SEEDS)
        return size, found.value, found.std, SEEDS, recipe.lr

    def of_random(per_class: int) -> tuple[int, float, float | None, int, float]:
        found = _random(pack, train, test, per_class, seed)
        return found.bytes, found.accuracy, found.std, found.subsets, found.lr

    def of_all() -> tuple[int, float, float | None, int, float]:
        found = evaluate(random_pack(train, whole, seed, pack.space), test, recipe=recipe, seeds=1,
                         augmentation=pack.card.augmentation)  # fmt: skip
        return stored_bytes(train, whole), found.value, found.std, 1, recipe.lr

    return [
        timed("the pack", len(pack), of_pack),
        timed(f"random real images, {alike} per class", alike * classes, lambda: of_random(alike)),
        timed("one random real image per class", classes, lambda: of_random(1)),
        timed("the whole sample", len(train), of_all),
    ]


def _random(pack: Pack, train: ImageData, test: ImageData, per_class: int, seed: int) -> Baseline:
    assert pack.card.recipe is not None
    return measure_random(
        train,
        test,
        per_class,
        recipe=pack.card.recipe,
        augmentation=pack.card.augmentation,
        space=pack.space,
        subsets=SUBSETS,
        seed=seed,
    )

"""The trainings for the label-robust and augmentation-robust scores; ``robustness`` says what is trained and why."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from dsetpack.formats.card import Augmentation, Labels, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.formats.progress import Work
from dsetpack.formats.words import plural
from dsetpack.loading.device import usable
from dsetpack.pack.pack import Pack
from dsetpack.trainers.baselines import random_pack
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import accuracies, accuracy, fresh
from dsetpack.trainers.measured import Measured
from dsetpack.trainers.progress import meter
from dsetpack.trainers.real import RealImages
from dsetpack.trainers.robustness import Accuracies, Scores
from dsetpack.trainers.seeds import derive
from dsetpack.training.train import train

RATES = (0.001, 0.005, 0.01, 0.05, 0.1)
"""DD-Ranking's learning rates, to choose from."""
EPOCHS = 10
"""How many epochs ``real-hard`` trains by default."""
BATCH = 1000


@dataclass(frozen=True)
class Plan:
    """How much to train.

    Attributes:
        seeds: the number of networks, and of random sets, for each part; their seeds are 0, 1, ...
        steps: optimiser steps of each training; None for the recipe's on the pack (with its epochs converted to steps,
            so that fewer random images train for as long).
        real_steps: optimiser steps of ``real-hard``; None for ten epochs.
        rates: the learning rates to choose from; the recipe's own is added.

    Raises:
        FormatError: if a number is below 1, or a rate is not positive.
    """

    seeds: int = 5
    steps: int | None = None
    real_steps: int | None = None
    rates: tuple[float, ...] = RATES

    def __post_init__(self) -> None:
        numbers = {"seeds": self.seeds, "steps": self.steps, "real_steps": self.real_steps}
        for name, value in numbers.items():
            if value is not None and value < 1:
                raise FormatError(f"{name} is {value}; expected at least 1")
        if any(not rate > 0 for rate in self.rates):
            raise FormatError(f"learning rates are {', '.join(map(str, self.rates))}; expected positive numbers")


@dataclass(frozen=True)
class Cost:
    """The trainings that the scores take: ``trainings`` of ``steps`` steps, and ``real`` of ``real_steps``."""

    trainings: int
    steps: int
    real: int
    real_steps: int


def robustness(
    pack: Pack,
    real: ImageData,
    test: ImageData,
    per_class: int,
    plan: Plan | None = None,
    *,
    device: torch.device | str | None = None,
    results: Path | None = None,
    show: bool | None = None,
    say: Callable[[Cost], None] | None = None,
) -> Scores:
    """Measure LRS and ARS of a pack, as ``dsetpack.trainers.robustness`` describes.

    Args:
        pack: a pack with a recipe; its space must be ready.
        real, test: real images; networks train on the first and are tested on the second.
        per_class: the number of random images per class that counts as the same size.
        plan: how much to train.
        device: where to train; by default where the pack is.
        results: a JSON file that keeps each accuracy as soon as it is measured; an existing one is continued.
        show: whether to show progress; None: only on a terminal.
        say: called with the cost before anything is trained.

    Raises:
        FormatError: if the pack has no recipe, data do not fit the pack, a class has too few images, or ``results``
            belongs to another measurement.
    """
    bench = _Bench(pack, real, test, per_class, plan or Plan(), usable(device or pack.device), results)
    cost = bench.cost()
    if say is not None:
        say(cost)
    with meter("score", cost.trainings + cost.real, show) as work:
        parts = bench.parts(work)
    return Scores(parts, per_class, cost.steps, cost.real_steps)


class _Bench:
    """All trainings for the scores, each done once."""

    def __init__(
        self,
        pack: Pack,
        real: ImageData,
        test: ImageData,
        per_class: int,
        plan: Plan,
        device: torch.device,
        results: Path | None,
    ) -> None:
        recipe = pack.card.recipe
        if recipe is None:
            raise FormatError(f"{pack.card.title!r} has no recipe in its card, which the scores train by")
        for data in (real, test):
            check_fits(pack, data)
        for label, name in enumerate(real.classes):
            if (there := len(real.of_class(label))) < per_class:
                raise FormatError(f"{real.name} has {plural(there, 'image')} of class {name!r}; {per_class} asked for")
        self.pack, self.real, self.test, self.per_class = pack, real, test, per_class
        self.seeds, self.device = range(plan.seeds), device
        self.steps = plan.steps or recipe.steps or len(pack.loader(recipe.batch_size)) * (recipe.epochs or 0)
        self.recipe = recipe.model_copy(update={"steps": self.steps, "epochs": None})
        self.real_recipe = _real_recipe(recipe, plan.real_steps, len(real))
        self.rates = tuple(sorted({*plan.rates, recipe.lr}))
        self.soft = pack.card.labels.kind == "soft"
        self.own_is_hard = not self.soft and recipe.loss == "cross_entropy"
        self.augments = pack.card.augmentation is not None or bool(recipe.cutmix)
        self.measured = Measured(results, {} if results is None else self._what())
        self._teachers: dict[int, nn.Module] = {}
        self._work = Work("score", None)

    def cost(self) -> Cost:
        """What is still to be trained, and for how long; a teacher that is needed trains again, as it is not kept."""
        wanted = [("syn-any", [self.recipe.lr]), ("rdm-any", self.rates)]
        wanted += [] if self.own_is_hard else [("syn-hard", self.rates)]
        wanted += [("syn-naug", [self.recipe.lr]), ("rdm-naug", self.rates)] if self.augments else []
        left = [
            (n, s) for n, rates in wanted for rate in rates for s in self.seeds if not self.measured.has(n, rate, s)
        ]
        taught = {seed for name, seed in left if self.soft and name.startswith("rdm")}
        real = {seed for seed in self.seeds if not self.measured.has("real-hard", self.real_recipe.lr, seed)}
        return Cost(len(left), self.steps, len(real | taught), self.real_recipe.steps or 0)

    def parts(self, work: Work) -> dict[str, Accuracies]:
        """Train every part and return them by name; the real networks come first, because they are the teachers."""
        self._work = work
        bare = self.recipe.model_copy(update={"cutmix": 0.0})
        augmentation = self.pack.card.augmentation
        found = {
            "real-hard": Accuracies(tuple(self._real(seed) for seed in self.seeds), self.real_recipe.lr),
            "syn-any": self._of_pack("syn-any", self.pack, self.recipe, augmentation),
            "rdm-any": self._of_random("rdm-any", self.recipe, augmentation),
        }
        found["syn-hard"] = found["syn-any"] if self.own_is_hard else self._hard(augmentation)
        if self.augments:
            found["syn-naug"] = self._of_pack("syn-naug", self.pack, bare, None)
            found["rdm-naug"] = self._of_random("rdm-naug", bare, None)
        else:
            found["syn-naug"], found["rdm-naug"] = found["syn-any"], found["rdm-any"]
        return found

    def _of_pack(self, name: str, pack: Pack, recipe: Recipe, augmentation: Augmentation | None) -> Accuracies:
        """Measure a pack at the recipe's learning rate."""
        for seed in self.seeds:
            self._measure(name, recipe, seed, lambda _: pack, augmentation)
        return self._part(name, recipe.lr)

    def _hard(self, augmentation: Augmentation | None) -> Accuracies:
        """Measure the pack with hard labels, at the best rate."""
        pack, recipe = with_hard_labels(self.pack), self.recipe.model_copy(update={"loss": "cross_entropy"})
        return self._best("syn-hard", recipe, lambda _: pack, augmentation)

    def _of_random(self, name: str, recipe: Recipe, augmentation: Augmentation | None) -> Accuracies:
        """Measure random images, different ones for each seed, at the best rate."""
        return self._best(name, recipe, self._random, augmentation)

    def _best(
        self, name: str, recipe: Recipe, packs: Callable[[int], Pack], augmentation: Augmentation | None
    ) -> Accuracies:
        for seed in self.seeds:
            for rate in self.rates:
                try:
                    self._measure(name, recipe.model_copy(update={"lr": rate}), seed, packs, augmentation)
                except FormatError:
                    raise
                except DsetpackError:  # the loss diverged: a rate that is too high is just not the best one
                    self._keep(name, rate, seed, 0.0)
        return max((self._part(name, rate) for rate in self.rates), key=lambda part: part.mean)

    def _part(self, name: str, rate: float) -> Accuracies:
        return Accuracies(tuple(self.measured.get(name, rate, seed) for seed in self.seeds), rate)

    def _measure(
        self, name: str, recipe: Recipe, seed: int, packs: Callable[[int], Pack], augmentation: Augmentation | None
    ) -> None:
        if self.measured.has(name, recipe.lr, seed):
            return
        found = accuracies(
            packs(seed),
            self.test,
            seeds=[seed],
            recipe=recipe,
            augmentation=augmentation,
            device=self.device,
        )
        self._keep(name, recipe.lr, seed, found[0])

    def _random(self, seed: int) -> Pack:
        hard = random_pack(self.real.to("cpu"), self.per_class, derive(seed, "random set"), self.pack.space.to("cpu"))
        if not self.soft:
            return hard
        x, _ = hard.decode(range(len(hard)))
        labels = soft_labels(self._teacher(seed), x.to(self.device), self.pack.card.labels.centred)
        return Pack.from_arrays(
            x, labels.cpu(), classes=self.real.classes, space=hard.space, axes="NCHW", title=hard.card.title
        )

    def _real(self, seed: int) -> float:
        """The accuracy of ``real-hard``, measured if it is missing."""
        if not self.measured.has("real-hard", self.real_recipe.lr, seed):
            self._teacher(seed)
        return self.measured.get("real-hard", self.real_recipe.lr, seed)

    def _teacher(self, seed: int) -> nn.Module:
        if seed not in self._teachers:
            model, recipe = fresh(self.pack, self.real_recipe, seed), self.real_recipe
            images = RealImages(self.real, self.pack.space)
            order = derive(seed, "order")
            train(model, images, recipe=recipe, augmentation=None, seed=order, device=self.device)
            space = self.pack.space.to(self.device)
            self._keep("real-hard", recipe.lr, seed, accuracy(model, self._test, space))
            self._teachers[seed] = model.eval()
        return self._teachers[seed]

    @cached_property
    def _test(self) -> ImageData:
        return self.test.to(self.device)

    def _keep(self, name: str, rate: float, seed: int, value: float) -> None:
        self.measured.put(name, rate, seed, value)
        self._work.update(self._work.done + 1, f"{name} at {rate:g}, seed {seed}: {value:.2%}")

    def _what(self) -> dict[str, object]:
        """What two measurements must have in common for one to continue with the other's accuracies."""
        card = self.pack.card
        return {
            "pack": self.pack.digest or f"sha256:{hashlib.sha256(self.pack.to_bytes()).hexdigest()}",
            "recipe": self.recipe.model_dump(mode="json"),
            "augmentation": None if card.augmentation is None else card.augmentation.model_dump(mode="json"),
            "real": self.real.digest,
            "real_labels": self.real.labels_digest,
            "test": self.test.digest,
            "test_labels": self.test.labels_digest,
            "per_class": self.per_class,
            "real_steps": self.real_recipe.steps,
        }


def _real_recipe(recipe: Recipe, steps: int | None, images: int) -> Recipe:
    """The recipe of ``real-hard``, with the pack's network; see ``dsetpack.trainers.robustness``."""
    made = Recipe(steps=1, final=0.0, arch=recipe.arch, width=recipe.width)
    return made.model_copy(update={"steps": steps or EPOCHS * math.ceil(images / made.batch_size)})


def with_hard_labels(pack: Pack) -> Pack:
    """The same pack, with each soft label replaced by the class of its largest entry; hard labels stay."""
    if pack.card.labels.kind == "hard":
        return pack
    parts = [replace(part, labels=part.labels.argmax(1)) for part in pack.parts]
    return Pack(pack.card.replace(labels=Labels()), parts, pack.space)


def soft_labels(teacher: nn.Module, x: Tensor, centred: bool) -> Tensor:
    """The teacher's probabilities float32 [N, classes] for images in its space; minus 1 / classes if ``centred``."""
    with torch.no_grad():
        probabilities = torch.cat([teacher(part).softmax(1) for part in torch.split(x, BATCH)])
    return probabilities - 1 / probabilities.shape[1] if centred else probabilities


def check_fits(pack: Pack, data: ImageData) -> None:
    """Check that real images have the pack's shape and number of classes.

    Raises:
        FormatError: if they do not.
    """
    if data.shape != tuple(pack.card.shape):
        raise FormatError(f"{data.name} has images of {list(data.shape)}; the pack makes {list(pack.card.shape)}")
    if len(data.classes) != len(pack.card.classes):
        raise FormatError(
            f"{data.name} has {plural(len(data.classes), 'class')}; the pack has {len(pack.card.classes)}"
        )

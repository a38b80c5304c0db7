"""How much a network trained on a pack reveals about the members of the real data: membership inference, as in ISA.

ISA (Crucial-sample distillation, section 3.3, table 5; FRePo's experiment) distills 10,000 images of MNIST and attacks
two kinds of networks, those trained on the distilled images and those trained on the 10,000 themselves, with as many
test images as non-members. Dong, Zhao and Lyu (ICML 2022) were the first to ask whether distillation protects members.

An AUC near 0.5 means that these attacks fail, not that nothing leaks: Carlini, Feldman and Nasr ("No free lunch in
'Privacy for free'", 2022) show why, and stronger attacks train many networks of their own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.progress import Work
from dsetpack.formats.words import plural
from dsetpack.loading.device import usable
from dsetpack.pack.pack import Pack
from dsetpack.trainers.attacks import ATTACKS, LEAST, Attack, answers, attacker, attacks
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import accuracy, fresh
from dsetpack.trainers.progress import meter
from dsetpack.trainers.real import RealImages
from dsetpack.trainers.scoring import check_fits
from dsetpack.trainers.seeds import derive, generator
from dsetpack.training.train import Loadable, train

COUNT = 10_000
"""The number of members and of non-members, as in ISA."""
EPOCHS = 100
"""How many passes over the members a network trained on them makes, unless the pack's recipe is longer (inferred)."""


@dataclass(frozen=True)
class Leak:
    """The results of the attacks on networks trained in one way; each tuple has a value for each seed.

    Attributes:
        accuracy: the accuracies on all test images, as fractions.
        auc: the AUCs by attack; 0.5 is guessing.
        steps: the optimiser steps of each network.
    """

    accuracy: tuple[float, ...]
    auc: dict[Attack, tuple[float, ...]]
    steps: int


@dataclass(frozen=True)
class Audit:
    """Networks trained on the pack, and on the members themselves, under the same attacks.

    Attributes:
        pack: the results for networks trained on the pack.
        real: the results for networks trained on the members.
        count: the number of members, and of non-members.
        known: whether the card pins the real images; if so, they are the members.
    """

    pack: Leak
    real: Leak
    count: int
    known: bool


def known_members(pack: Pack, members: ImageData) -> bool:
    """Whether the card pins the images that the pack was distilled from.

    Raises:
        FormatError: if it pins images other than ``members``.
    """
    pinned = pack.card.provenance.dataset_digest
    if pinned is not None and pinned != members.digest:
        made_from = pack.card.provenance.dataset or "other images"
        raise FormatError(
            f"{members.name} is not what the pack was distilled from ({made_from}): its images have the digest "
            f"{members.digest}, the card's provenance says {pinned}; an audit needs those very images as members"
        )
    return pinned is not None


def audit(
    pack: Pack,
    members: ImageData,
    test: ImageData,
    *,
    count: int = COUNT,
    seeds: int = 3,
    steps: int | None = None,
    real_steps: int | None = None,
    real_augment: bool = False,
    names: Sequence[Attack] = ATTACKS,
    device: torch.device | str | None = None,
    show: bool | None = None,
) -> Audit:
    """Attack networks trained on a pack, and networks trained on its members.

    Each seed has its own network, attackers, and equally many members and non-members, drawn at random; so the spread
    over seeds includes that of the draw. Both kinds of networks start from the same weights and train by the card's
    recipe: on the pack with its augmentation; on the members with hard labels and cross-entropy, and, unless
    ``real_augment``, without augmentation and CutMix, which keep networks from memorising.

    Args:
        pack: a pack with a recipe; its space must be ready.
        members: all the images that the pack was distilled from.
        test: images that were never trained on.
        count: the largest number of members and of non-members; fewer if ``members`` or ``test`` has fewer.
        seeds: the number of networks of each kind; their seeds are 0, 1, ...
        steps: the steps of networks on the pack; by default the recipe's.
        real_steps: the steps of networks on members; by default 100 passes over them, or as many steps as on the pack
            if that is more.
        real_augment: whether to train on members with the card's augmentation and CutMix, too.
        names: the attacks.
        device: where to train; by default where the pack is.
        show: whether to show progress; None: only on a terminal.

    Raises:
        FormatError: if the pack has no recipe, data do not fit the pack, the card pins other members, there are too few
            of them, or an attack is unknown.
        DsetpackError: if an attack needs scikit-learn and it is not installed.
    """
    known = known_members(pack, members)
    recipe = _recipe(pack, steps)
    for data in (members, test):
        check_fits(pack, data)
    for name in names:
        if name != "threshold":
            attacker(name)  # fail now, not after the first training
    size = min(count, len(members), len(test))
    if size < LEAST or seeds < 1:
        raise FormatError(f"{plural(size, 'member')} and {plural(seeds, 'seed')}; expected at least {LEAST} and 1")
    bench = _Bench(pack, members, test, size, names, usable(device or pack.device))
    augmentation = pack.card.augmentation
    on_members = _real_recipe(recipe, real_steps, size, real_augment)
    with meter("audit", 2 * seeds, show) as work:
        on_pack = bench.leak(lambda _: bench.moved, recipe, augmentation, range(seeds), work)
        on_real = bench.leak(
            lambda chosen: RealImages(chosen, bench.moved.space),
            on_members,
            augmentation if real_augment else None,
            range(seeds),
            work,
        )
    return Audit(on_pack, on_real, size, known)


@dataclass(frozen=True)
class _Bench:
    """What all attacks share: the pack, the images, the names of attacks and the device."""

    pack: Pack
    members: ImageData
    others: ImageData
    size: int
    names: Sequence[Attack]
    device: torch.device

    @cached_property
    def moved(self) -> Pack:
        """The pack on the device of training."""
        return self.pack.to(self.device)

    @cached_property
    def test(self) -> ImageData:
        """All test images on the device of training."""
        return self.others.to(self.device)

    def leak(
        self,
        images: Callable[[ImageData], Loadable],
        recipe: Recipe,
        augmentation: Augmentation | None,
        seeds: Sequence[int],
        work: Work,
    ) -> Leak:
        """Train a network for each seed on ``images`` of its members, and attack it."""
        right: list[float] = []
        found: dict[Attack, list[float]] = {name: [] for name in self.names}
        for seed in seeds:
            members, others = (self._draw(data, seed) for data in (self.members, self.others))
            model = fresh(self.pack, recipe, seed)
            order = derive(seed, "order")
            train(model, images(members), recipe=recipe, augmentation=augmentation, seed=order, device=self.device)
            right.append(accuracy(model, self.test, self.moved.space))
            said = [answers(model, data, self.moved.space) for data in (members, others)]
            for name, value in attacks(said[0], said[1], self.names, derive(seed, "attack")).items():
                found[name].append(value)
            worst = max((statistics.fmean(values) for values in found.values()), default=math.nan)
            work.update(work.done + 1, f"accuracy {statistics.fmean(right):.2%}, AUC up to {worst:.3f}")
        return Leak(tuple(right), {name: tuple(values) for name, values in found.items()}, recipe.steps or 0)

    def _draw(self, data: ImageData, seed: int) -> ImageData:
        """Draw ``size`` random images, the same ones for both kinds of networks."""
        order = torch.randperm(len(data), generator=generator(seed, "audit"))[: self.size]
        return data.take(order.to(data.images.device)).to(self.device)


def _recipe(pack: Pack, steps: int | None) -> Recipe:
    """The card's recipe, with its length in steps."""
    recipe = pack.card.recipe
    if recipe is None:
        raise FormatError(f"{pack.card.title!r} has no recipe in its card, which the audit trains by")
    total = steps or recipe.steps or len(pack.loader(recipe.batch_size)) * (recipe.epochs or 0)
    return recipe.model_copy(update={"steps": total, "epochs": None})


def _real_recipe(recipe: Recipe, steps: int | None, members: int, augment: bool) -> Recipe:
    total = steps or max(recipe.steps or 0, EPOCHS * math.ceil(members / recipe.batch_size))
    changes = {"steps": total, "loss": "cross_entropy", "cutmix": recipe.cutmix if augment else 0.0}
    return recipe.model_copy(update=changes)

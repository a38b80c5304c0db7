"""How good a pack is: networks trained on it from scratch, tested on real images."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any, Literal

import torch

from dsetpack.augment import augmentation_of
from dsetpack.device import usable
from dsetpack.formats.card import Augmentation, Card, Metric, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.pack import Pack
from dsetpack.spaces import Space
from dsetpack.train import train
from dsetpack.trainers import parallel
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.progress import Meter
from dsetpack.trainers.seeds import derive

BATCH = 500
Augment = Augmentation | Literal["card"] | None


def evaluate(
    pack: Pack,
    test: ImageData,
    *,
    seeds: int | Sequence[int] = 5,
    arch: str | None = None,
    width: int | None = None,
    recipe: Recipe | None = None,
    augmentation: Augment = "card",
    device: torch.device | str | None = None,
    show: bool | None = None,
) -> Metric:
    """Train networks on a pack and test them: mean accuracy and its standard deviation over seeds.

    The network after the last step counts; nothing is chosen on the test images.

    Args:
        pack: what to train on.
        test: real test images; mapped into the pack's space.
        seeds: how many (0, 1, ...) or which: of initial weights, order and augmentation.
        arch, width: the network; by default the recipe's.
        recipe: by default the card's.
        augmentation: by default the card's; None for none.
        device: where to train; by default where the pack is.
        show: progress; None: only on a terminal.

    Returns:
        fractions in [0, 1]; ``std`` divides by seeds - 1 and is None for one seed. ``protocol`` is ``own`` where
        network, recipe and augmentation are the card's, else ``changed``; then ``note`` is JSON of what differs.

    Raises:
        FormatError: no recipe, or test images that do not fit the pack.
    """
    recipe = _recipe(pack, recipe)
    recipe = recipe.model_copy(update={"arch": arch or recipe.arch, "width": width or recipe.width})
    found = accuracies(
        pack,
        test,
        seeds=seeds,
        recipe=recipe,
        augmentation=augmentation,
        device=device,
        show=show,
    )
    changes = _changes(pack.card, recipe, augmentation_of(pack.card, augmentation))
    return Metric(
        value=statistics.fmean(found),
        std=statistics.stdev(found) if len(found) > 1 else None,
        seeds=len(found),
        arch=recipe.arch,
        width=recipe.width,
        test_data=test.name,
        test_digest=test.digest,
        protocol="changed" if changes else "own",
        note=json.dumps(changes) if changes else None,
    )


def _changes(card: Card, recipe: Recipe, augmentation: Augmentation | None) -> dict[str, Any]:
    """What of recipe and augmentation is not as the card says, as plain JSON values."""
    ours, theirs = recipe.model_dump(mode="json"), card.recipe.model_dump(mode="json") if card.recipe else {}
    changes = {name: value for name, value in ours.items() if name not in theirs or value != theirs[name]}
    if augmentation != card.augmentation:
        changes["augmentation"] = None if augmentation is None else augmentation.model_dump(mode="json")
    return changes


def accuracies(
    pack: Pack,
    test: ImageData,
    *,
    seeds: int | Sequence[int] = 5,
    arch: str | None = None,
    width: int | None = None,
    recipe: Recipe | None = None,
    augmentation: Augment = "card",
    device: torch.device | str | None = None,
    show: bool | None = None,
) -> list[float]:
    """The accuracy for each seed; arguments as for ``evaluate``. Several processes share the seeds out."""
    recipe = _recipe(pack, recipe)
    _check(pack, test)
    target = usable(device or pack.device)
    augment = augmentation_of(pack.card, augmentation)
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    moved, real = pack.to(target), test.to(target)
    found: dict[int, float] = {}
    own = parallel.mine(len(numbers))
    with Meter("evaluate", len(own), False if parallel.rank() else show) as meter:
        for done, number in enumerate(own):
            model = fresh(pack, recipe, numbers[number], arch, width)
            order = derive(numbers[number], "order")
            train(model, moved, recipe=recipe, augmentation=augment, seed=order, device=target)
            found[number] = accuracy(model, real, moved.space)
            meter.update(done + 1, f"accuracy {statistics.fmean(found.values()):.2%}")
    every = {number: value for part in parallel.gather(found) for number, value in part.items()}
    return [every[number] for number in range(len(numbers))]


def fresh(pack: Pack, recipe: Recipe, seed: int, arch: str | None = None, width: int | None = None) -> Network:
    """The network that ``evaluate`` trains for a seed, before training."""
    classes = len(pack.card.classes)
    return network(arch or recipe.arch, pack.card.shape, classes, width or recipe.width, seed=derive(seed, "weights"))


def accuracy(model: torch.nn.Module, test: ImageData, space: Space) -> float:
    """The share of test images that the model gets right, in evaluation mode; mapped into ``space`` first."""
    was_training = model.training
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in test.batches(BATCH):
            right += int((model(space.apply(x)).argmax(1) == y).sum())
    model.train(was_training)
    return right / len(test)


def _recipe(pack: Pack, recipe: Recipe | None) -> Recipe:
    recipe = recipe or pack.card.recipe
    if recipe is None:
        raise FormatError(f"{pack.card.title!r} has no recipe in its card; give one")
    return recipe


def _check(pack: Pack, test: ImageData) -> None:
    if test.shape != tuple(pack.card.shape):
        raise FormatError(f"{test.name} has images of {list(test.shape)}; the pack makes {list(pack.card.shape)}")
    if len(test.classes) != len(pack.card.classes):
        raise FormatError(f"{test.name} has {len(test.classes)} classes; the pack has {len(pack.card.classes)}")

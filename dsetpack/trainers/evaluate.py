"""How good a pack is: networks are trained on it from scratch and tested on real images."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from typing_extensions import Unpack

from dsetpack.formats.card import Metric, Recipe
from dsetpack.loading.device import usable
from dsetpack.loading.loader import PackLoader
from dsetpack.pack.pack import Pack
from dsetpack.spaces import Space
from dsetpack.trainers import parallel
from dsetpack.trainers.batched import AT_ONCE, batchable, train_together, worthwhile
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.networks import Network, network
from dsetpack.trainers.predictors import Predict, check_support, ridge_predictor
from dsetpack.trainers.progress import meter
from dsetpack.trainers.protocols import NAMES, Choices, Evaluation, check_data, plan
from dsetpack.trainers.seeds import derive
from dsetpack.training.train import After, train

BATCH = 500


def evaluate(
    pack: Pack,
    test: ImageData,
    *,
    device: torch.device | str | None = None,
    show: bool | None = None,
    **choices: Unpack[Choices],
) -> Metric:
    """Train networks on a pack and test them: mean accuracy and its standard deviation over seeds.

    The network after the last step counts; nothing is chosen on the test images.

    Args:
        pack: the pack to train on.
        test: real test images; they are mapped into the pack's space.
        device: where to train; by default where the pack is.
        show: whether to show progress; None: only on a terminal.
        choices: seeds, protocol, network, ...; see ``Choices``.

    Returns:
        a metric of fractions in [0, 1]; ``std`` divides by seeds - 1 and is None for one seed. ``protocol`` is ``own``
        or ``common`` if network, recipe and augmentation are the protocol's, else ``changed``. ``note`` is JSON or
        None: what differs, and with several ``readings`` the best of them as ``best_of``.

    Raises:
        FormatError: if there is no recipe, or test images do not fit the pack; see ``plan``.
    """
    return measure(pack, [test], plan(pack.card, test.name, **choices), device=device, show=show)[0].metric


def accuracies(
    pack: Pack,
    test: ImageData,
    *,
    device: torch.device | str | None = None,
    show: bool | None = None,
    **choices: Unpack[Choices],
) -> list[float]:
    """Measure the accuracy for each seed; arguments as for ``evaluate``. Several processes share out the seeds."""
    return measure(pack, [test], plan(pack.card, test.name, **choices), device=device, show=show)[0].last


@dataclass(frozen=True)
class Measured:
    """The accuracies of networks on one test set.

    Attributes:
        last: the accuracy after the last step, for each seed. This one counts.
        best: the best of all readings, for each seed. It is chosen on the test images, so it is not a fair measure.
        readings: the number of readings.
        metric: the metric for a card; its ``value`` is the mean of ``last``.
    """

    last: list[float]
    best: list[float]
    readings: int
    metric: Metric


def measure(
    pack: Pack,
    tests: Sequence[ImageData],
    how: Evaluation,
    *,
    device: torch.device | str | None = None,
    show: bool | None = None,
) -> list[Measured]:
    """Train the networks of a plan once, and test them on several sets of images.

    Args:
        pack: the pack to train on.
        tests: sets of real test images with the pack's shape and number of classes.
        how: the plan, made by ``protocols.plan`` for the pack's card.
        device, show: as for ``evaluate``.

    Raises:
        FormatError: if test images or the predictor do not fit the pack.
    """
    for test in tests:
        check_data(pack.card, test)
    if how.predictor == "krr":
        check_support(pack)
    found = _Bench(pack, tests, how, usable(device or pack.device)).readings(show)
    return [_measured(test, how, [seed[number] for seed in found]) for number, test in enumerate(tests)]


def _measured(test: ImageData, how: Evaluation, readings: Sequence[Sequence[float]]) -> Measured:
    """Sum up the readings of each seed on one test set."""
    last, best = [seed[-1] for seed in readings], [max(seed) for seed in readings]
    count = len(readings[0])
    told = {"readings": count, "value": statistics.fmean(best), "std": _spread(best)} if how.readings > 1 else None
    metric = Metric(
        name=NAMES[how.predictor],
        value=statistics.fmean(last),
        std=_spread(last),
        seeds=len(last),
        arch=how.recipe.arch,
        width=how.recipe.width,
        test_data=test.name,
        test_digest=test.digest,
        test_labels_digest=test.labels_digest,
        protocol=how.label,
        note=how.note(told),
    )
    return Measured(last, best, count, metric)


def _spread(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


Readings = list[list[float]]
"""For each test set, the accuracies of one network, in the order of steps."""


class _Bench:
    """A pack, test sets and a plan on one device."""

    def __init__(self, pack: Pack, tests: Sequence[ImageData], how: Evaluation, device: torch.device) -> None:
        self.pack, self.how, self.device = pack.to(device), how, device
        self.tests = [test.to(device) for test in tests]

    def readings(self, show: bool | None) -> list[Readings]:
        """The readings of each seed's network; several processes share out the seeds."""
        own = list(parallel.mine(len(self.how.seeds)))
        found: dict[int, Readings] = {}
        with meter("evaluate", len(own), False if parallel.rank() else show) as work:
            for numbers in self._groups(own):
                work.ahead = len(numbers)
                found |= zip(numbers, self._trained([self.how.seeds[number] for number in numbers]), strict=True)
                shown = statistics.fmean(readings[0][-1] for readings in found.values())
                work.update(len(found), f"accuracy {shown:.2%}")
        every = {number: value for part in parallel.gather(found) for number, value in part.items()}
        return [every[number] for number in range(len(self.how.seeds))]

    def _groups(self, numbers: list[int]) -> Iterator[list[int]]:
        """Group the numbers of networks that train in one pass."""
        size = 1
        if len(numbers) > 1 and self.how.batched is not False:
            first = [self.how.network(self.how.seeds[number]) for number in numbers[:AT_ONCE]]
            size = AT_ONCE if batchable(first) and (self.how.batched or self._worthwhile(first)) else 1
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]

    def _worthwhile(self, models: Sequence[nn.Module]) -> bool:
        how, batch = self.how, min(self.how.recipe.batch_size, len(self.pack))
        return worthwhile(models, how.image, how.classes, batch, how.recipe, self.device)

    def _trained(self, seeds: Sequence[int]) -> list[Readings]:
        """Train networks together, or one alone, and return their readings."""
        models = [self.how.network(seed) for seed in seeds]
        orders = [derive(seed, "order") for seed in seeds]
        found: list[Readings] = [[[] for _ in self.tests] for _ in seeds]

        def after(done: int, total: int) -> None:
            if done in _marks(total, self.how.readings):
                for model, readings in zip(models, found, strict=True):
                    for values, value in zip(readings, self._tested(model), strict=True):
                        values.append(value)

        self._train(models, orders, after)
        return found

    def _train(self, models: Sequence[nn.Module], orders: Sequence[int], after: After) -> None:
        recipe, augmentation, pack = self.how.recipe, self.how.augmentation, _Whole(self.pack)
        if len(models) > 1:
            train_together(
                models,
                pack,
                recipe=recipe,
                augmentation=augmentation,
                seeds=orders,
                device=self.device,
                after=after,
            )
            return
        train(
            models[0],
            pack,
            recipe=recipe,
            augmentation=augmentation,
            seed=orders[0],
            device=self.device,
            after=after,
        )

    def _tested(self, model: nn.Module) -> list[float]:
        """The accuracy of the plan's predictor on each test set."""
        with _inference(model):
            predict = ridge_predictor(model, self.pack) if self.how.predictor == "krr" else model
            return [_share(predict, test, self.pack.space) for test in self.tests]


class _Whole:
    """A pack whose loaders give every process all batches, because processes share out the seeds, not the images."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack

    def loader(self, *, batch_size: int, seed: int, device: torch.device) -> PackLoader:
        return self.pack.loader(batch_size=batch_size, seed=seed, device=device, rank=0, world=1)


def _marks(total: int, readings: int) -> set[int]:
    """The steps after which to test, evenly spaced, including the last; fewer than ``readings`` if steps are fewer."""
    return {max(1, round(total * part / readings)) for part in range(1, readings + 1)}


def fresh(pack: Pack, recipe: Recipe, seed: int) -> Network:
    """Build the recipe's network for a seed as ``evaluate`` does, before training."""
    return network(recipe.arch, pack.card.shape, len(pack.card.classes), recipe.width, seed=derive(seed, "weights"))


def accuracy(model: nn.Module, test: ImageData, space: Space) -> float:
    """The share of test images, mapped into ``space``, that the model classifies correctly in evaluation mode."""
    with _inference(model):
        return _share(model, test, space)


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode without gradients, and restore its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _share(predict: Predict, test: ImageData, space: Space) -> float:
    right = sum(int((predict(space.apply(x)).argmax(1) == y).sum()) for x, y in test.batches(BATCH))
    return right / len(test)

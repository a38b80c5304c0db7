"""Whether a pack does what its card says: measure it again by its own recipe, on the test data that the card pins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dsetpack.formats.card import Card, Metric
from dsetpack.formats.errors import FormatError
from dsetpack.pack.pack import Pack
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import measure
from dsetpack.trainers.protocols import NAMES, Evaluation, check_data, plan

LIMIT = 3.0
"""The number of standard errors of the difference beyond which a card's value counts as not reproduced."""
_PREDICTORS = {name: predictor for predictor, name in NAMES.items()}


@dataclass(frozen=True)
class Reproduction:
    """A card's value and a new one.

    Attributes:
        card: the card's metric.
        new: the same metric, measured here.
    """

    card: Metric
    new: Metric

    @property
    def difference(self) -> float:
        """The new value minus the card's, as a fraction in [-1, 1]."""
        return self.new.value - self.card.value

    @property
    def error(self) -> float:
        """The standard error of the difference: ``s · sqrt(1 / n + 1 / m)`` for n and m seeds.

        ``s`` pools both standard deviations, weighted by seeds - 1: reproducing a recipe assumes the same spread on
        both sides, and the spread of two or three seeds alone says little. So a side with one seed gets the other's
        spread. The result is NaN if both sides have one seed.
        """
        sides = (self.card, self.new)
        freedom = sum(side.seeds - 1 for side in sides if side.std is not None)
        if not freedom:
            return math.nan
        squares = sum((side.seeds - 1) * side.std**2 for side in sides if side.std is not None)
        return math.sqrt(squares / freedom * sum(1 / side.seeds for side in sides))

    @property
    def errors(self) -> float:
        """The difference in standard errors; infinite if seeds do not differ within a side but the means do."""
        if not self.difference:
            return 0.0
        return self.difference / self.error if self.error else math.copysign(math.inf, self.difference)

    @property
    def holds(self) -> bool:
        """Whether the new value is within ``LIMIT`` standard errors of the card's."""
        return abs(self.errors) <= LIMIT


def reproduce(
    pack: Pack,
    test: ImageData,
    *,
    seeds: int | Sequence[int] = 5,
    device: torch.device | str | None = None,
    show: bool | None = None,
) -> Reproduction:
    """Measure a pack again as its card says it was measured.

    Seeds 0, 1, ... are those of ``evaluate``: on the machine that measured the card, the values may be identical.

    Args:
        pack: a pack with a recipe and a metric in its card.
        test: the real test data.
        seeds: how many seeds, or which ones; each trains one network.
        device, show: as for ``evaluate``.

    Raises:
        FormatError: as ``settle``, before anything is trained.
    """
    metric, how = settle(pack.card, test, seeds)
    return Reproduction(metric, measure(pack, [test], how, device=device, show=show)[0].metric)


def settle(card: Card, test: ImageData, seeds: int | Sequence[int] = 5) -> tuple[Metric, Evaluation]:
    """Choose which of a card's metrics to measure again, and how.

    The metric is the last one by the card's own protocol on data with this digest.

    Raises:
        FormatError: if the card has no recipe or no such metric; if the test data have another digest (of images or
            labels), shape, number or order of classes; if the metric is of another network than the recipe's; or if
            both sides have one seed, so that there is no standard error.
    """
    if card.recipe is None:
        raise FormatError(f"{card.title!r} has no recipe in its card, so nothing says how it was measured")
    check_data(card, test)
    metric = _metric(card, test)
    if (metric.arch, metric.width) != (card.recipe.arch, card.recipe.width):
        found, expected = (_network(*of) for of in ((metric.arch, metric.width), (card.recipe.arch, card.recipe.width)))
        raise FormatError(f"the card contradicts itself: its metric is of {found}, its recipe trains {expected}")
    how = plan(card, test.name, seeds=seeds, predictor=_PREDICTORS[metric.name])
    if (metric.std is None or metric.seeds == 1) and len(how.seeds) == 1:
        raise FormatError("the card's value has no standard deviation over seeds: measure 2 seeds or more")
    return metric, how


def _metric(card: Card, test: ImageData) -> Metric:
    if not card.metrics:
        raise FormatError(f"{card.title!r} has no metric in its card to reproduce; 'dsetpack eval' measures one")
    own = [metric for metric in card.metrics if metric.protocol == "own" and metric.name in _PREDICTORS]
    if not own:
        found = ", ".join(f"{metric.name} by protocol {metric.protocol}" for metric in card.metrics)
        raise FormatError(f"{card.title!r} has no accuracy by its own protocol in its card; it has {found}")
    pinned = [metric for metric in own if metric.test_digest is not None]
    if not pinned:
        raise FormatError(f"the card does not pin the test data of its metrics by a digest: {_data(own)}")
    same = [metric for metric in pinned if metric.test_digest == test.digest]
    if not same:
        raise FormatError(
            f"{test.name} has the digest {test.digest}; the card was measured on other test data: {_data(pinned)}"
        )
    labelled = [metric for metric in same if metric.test_labels_digest in (None, test.labels_digest)]
    if not labelled:
        raise FormatError(
            f"{test.name} has the images that the card was measured on with other labels: their digest is "
            f"{test.labels_digest}, the card pins {same[-1].test_labels_digest}"
        )
    return labelled[-1]


def _data(metrics: Sequence[Metric]) -> str:
    """The names and digests of test data, each once."""
    return ", ".join(dict.fromkeys(" ".join(filter(None, (m.test_data, m.test_digest))) for m in metrics))


def _network(arch: str, width: int | None) -> str:
    return arch if width is None else f"{arch} of width {width}"

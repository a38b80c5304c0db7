"""A pack measured again by its own card."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

import dsetpack
from dsetpack.formats.card import Augmentation, Metric, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import evaluate
from dsetpack.trainers.reproduce import Reproduction, reproduce, settle

RECIPE = Recipe(steps=12, batch_size=8, lr=0.05, width=4)


def data(count=60, seed=0, classes=("rows", "columns")):
    """Class 0 has rows, class 1 has columns."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    pattern = torch.zeros(2, 1, 16, 16)
    pattern[0, :, ::4], pattern[1, :, :, ::4] = 150, 150
    x = pattern[y] + torch.randint(0, 100, (count, 1, 16, 16), generator=g)
    return ImageData(x.to(torch.uint8), y, classes, "stripes")


def pack(*metrics, **card):
    made = data(16, seed=1)
    fields = {"recipe": RECIPE, "augmentation": Augmentation(ops=("color", "flip")), "metrics": metrics, **card}
    return dsetpack.Pack.from_arrays(made.images, made.labels, classes=made.classes, **fields)


def metric(test, **fields):
    given = {"value": 0.9, "std": 0.01, "seeds": 5, "arch": "convnet3", "width": 4}
    return Metric(**{**given, "test_data": test.name, "test_digest": test.digest, **fields})


def test_what_was_measured_is_reproduced():
    test = data()
    measured = evaluate(pack(), test, seeds=3)
    found = reproduce(pack(measured), test, seeds=3)
    assert (found.card, found.new) == (measured, measured)
    assert (found.difference, found.errors, found.holds) == (0.0, 0.0, True)
    others = reproduce(pack(measured), test, seeds=[5, 6])
    assert others.new.value == evaluate(pack(), test, seeds=[5, 6]).value
    assert others.holds


def test_what_was_not_measured_is_not():
    test = data()
    wrong = metric(test, value=0.31, std=0.02)
    found = reproduce(pack(wrong), test, seeds=2)
    assert found.difference == pytest.approx(found.new.value - 0.31)
    assert found.errors > 3
    assert not found.holds


def test_the_error_is_that_of_a_difference_of_two_means():
    """Compared with the variance of all values about their own means, computed from the values."""
    theirs, ours = [0.70, 0.72, 0.75, 0.71], [0.74, 0.78]
    sides = [
        metric(data(), value=statistics.fmean(values), std=statistics.stdev(values), seeds=len(values))
        for values in (theirs, ours)
    ]
    found = Reproduction(*sides)
    squares = sum((v - statistics.fmean(values)) ** 2 for values in (theirs, ours) for v in values)
    expected = math.sqrt(squares / 4 * (1 / 4 + 1 / 2))
    assert found.error == pytest.approx(expected, rel=1e-12)
    assert found.difference == pytest.approx(0.04)
    assert found.errors == pytest.approx(0.04 / expected)


def test_one_seed_takes_the_others_spread():
    many, one = metric(data(), std=0.02, seeds=4), metric(data(), std=None, seeds=1)
    for sides in ((many, one), (one, many)):
        assert Reproduction(*sides).error == pytest.approx(0.02 * math.sqrt(1 + 1 / 4))
    assert math.isnan(Reproduction(one, one).error)
    test = data()
    with pytest.raises(FormatError, match="no standard deviation over seeds: measure 2 seeds or more"):
        reproduce(pack(metric(test, std=None, seeds=1)), test, seeds=1)
    assert settle(pack(metric(test, std=None, seeds=1)).card, test, 2)[0].seeds == 1


@pytest.mark.parametrize(("value", "holds"), [(0.929, True), (0.931, False), (0.871, True), (0.869, False)])
def test_the_limit_is_three_standard_errors(value, holds):
    card = metric(data(), value=0.9, std=0.01, seeds=2)
    assert Reproduction(card, metric(data(), value=value, std=0.01, seeds=2)).holds is holds


def test_no_spread_at_all():
    card = metric(data(), value=0.9, std=0.0)
    assert Reproduction(card, card).holds
    assert Reproduction(card, metric(data(), value=0.8, std=0.0)).errors == -math.inf


def test_which_metric_it_is():
    test, other = data(), data(seed=3)
    krr = metric(test, name="krr accuracy", value=0.5)
    ours = (
        metric(test, value=0.1),
        metric(test, value=0.2),
        metric(other, value=0.3),
        metric(test, value=0.4, protocol="changed"),
        metric(test, value=0.5, protocol="common", width=128),
        metric(test, name="error", value=0.6),
    )
    card = pack(*ours).card
    assert settle(card, test)[0].value == 0.2  # the last by the card's own protocol on this data
    assert settle(card, other)[0].value == 0.3
    chosen, how = settle(pack(*ours, krr).card, test)
    assert (chosen.value, how.predictor, how.recipe) == (0.5, "krr", RECIPE)
    assert reproduce(pack(krr), test, seeds=2).new.name == "krr accuracy"


@pytest.mark.parametrize(
    ("card", "test", "message"),
    [
        ({"recipe": None}, data(), "no recipe in its card"),
        ({"metrics": ()}, data(), "no metric in its card"),
        ({}, data(seed=9), "other test data: stripes sha256:"),
        ({}, data(classes=("a", "b", "c")), "3 classes; the pack has 2"),
        (
            {},
            data(classes=("columns", "rows")),
            "another order: 0 is 'columns' there and 'rows' in the pack",
        ),
        (
            {"metrics": (metric(data(), test_labels_digest=data().labels_digest),)},
            ImageData(data().images, 1 - data().labels, ("a", "b"), "swapped"),
            "swapped has the images that the card was measured on with other labels: their digest is sha256:",
        ),
        (
            {},
            ImageData(data().images[:, :, :8], data().labels, ("a", "b"), "half"),
            r"half has images of \[1, 8, 16\]; the pack makes \[1, 16, 16\]",
        ),
        ({"metrics": (metric(data(), protocol="common"),)}, data(), "it has accuracy by protocol common"),
        ({"metrics": (metric(data(), test_digest=None),)}, data(), "does not pin the test data.*: stripes$"),
        (
            {"metrics": (metric(data(), arch="vgg11", width=None),)},
            data(),
            "its metric is of vgg11, its recipe trains convnet3 of width 4",
        ),
    ],
)
def test_bad_input_is_named_before_training(card, test, message, monkeypatch):
    monkeypatch.setattr("dsetpack.trainers.reproduce.measure", None)
    with pytest.raises(FormatError, match=message):
        reproduce(pack(**{"metrics": (metric(data()),), **card}), test)

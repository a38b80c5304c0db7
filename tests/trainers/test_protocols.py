"""How a measurement is done is decided before training."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from dsetpack.formats.card import Card, Labels, Provenance
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.trainers.protocols import COMMON, COMMON_AUGMENTATION, COMMON_REGRESSION, defaults, plan
from tests.support.paths import DOCS
from tests.support.protocol_cases import RECIPE, card


def test_own_is_the_card():
    made = plan(card(), "mine")
    assert (made.recipe, made.augmentation, made.label, made.note()) == (RECIPE, card().augmentation, "own", None)
    assert made.seeds == (0, 1, 2, 3, 4)
    assert plan(card(), "mine", seeds=[7, 3]).seeds == (7, 3)


def test_common_is_the_constant_but_for_labels_and_mirrors():
    for name, shown in (("fashion-mnist", True), ("mnist", False), ("svhn", False)):
        made = plan(card(), name, protocol="common")
        assert made.recipe == COMMON
        assert ("flip" in made.augmentation.ops) is shown
        assert (made.label, made.note()) == ("common", None)
    distilled = card(provenance=Provenance(dataset="mnist"))
    assert "flip" not in plan(distilled, "digits.npz", protocol="common").augmentation.ops
    soft, centred = (card(labels=Labels(kind="soft", centred=c)) for c in (False, True))
    assert defaults(soft, "x", "common") == (COMMON, COMMON_AUGMENTATION)
    assert defaults(centred, "x", "common")[0] == COMMON_REGRESSION
    assert (COMMON_REGRESSION.loss, COMMON_REGRESSION.lr) == ("mse", 0.001)


def test_the_page_says_what_common_is():
    page = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    assert rows["network"] == f"ConvNet-3 of width {COMMON.width}"
    assert rows["optimiser"] == (
        f"SGD, learning rate {COMMON.lr}, momentum {COMMON.momentum}, weight decay {COMMON.weight_decay}, "
        f"×{COMMON.gamma} after half of the steps"
    )
    assert rows["steps"].startswith(f"{COMMON.steps} of {COMMON.batch_size} images")
    assert f"learning rate {COMMON_REGRESSION.lr}" in rows["centred labels (FRePo's)"]
    assert (COMMON.optimizer, COMMON.arch, COMMON.milestones) == ("sgd", "convnet3", (0.5,))


def test_squared_errors_at_the_rate_of_cross_entropy_would_diverge():
    """Why common has another rate for regression: the largest curvature of half the squared error, at the start."""
    from dsetpack.trainers.networks import network

    x = torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = network("convnet3", (1, 28, 28), 10, 128).embed(x)
    curvature = float(torch.linalg.eigvalsh(features @ features.T / len(x))[-1])
    stable = 2 * (1 + COMMON.momentum) / curvature  # heavy ball on a quadratic
    assert COMMON_REGRESSION.lr < stable < COMMON.lr


def test_the_width_of_the_recipe_is_for_its_network():
    def chosen(**choices):
        made = plan(card(), "x", **choices)
        return made.recipe.arch, made.recipe.width, made.label

    assert chosen() == ("convnet3", 4, "own")
    assert chosen(arch="convnet3") == ("convnet3", 4, "own")
    assert chosen(arch="resnet10") == ("resnet10", None, "changed")
    assert chosen(arch="resnet10", width=3) == ("resnet10", 3, "changed")
    assert chosen(width=5) == ("convnet3", 5, "changed")
    assert chosen(protocol="common", width=128) == ("convnet3", 128, "common")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"protocol": "mine"}, "protocol is 'mine'; expected 'own' or 'common'"),
        ({"predictor": "svm"}, "predictor is 'svm'; expected 'network' or 'krr'"),
        ({"seeds": 0}, "seeds is 0; expected at least one"),
        ({"seeds": []}, "at least one"),
        ({"readings": 0}, "readings is 0"),
        ({"arch": "vgg12"}, "no network 'vgg12'; nearest is 'vgg11'"),
        ({"augmentation": "dsa"}, "augmentation is 'dsa'"),
    ],
)
def test_choices_out_of_range(choices, message):
    with pytest.raises(FormatError, match=message):
        plan(card(), "x", **choices)


def test_a_network_that_cannot_take_the_images_is_refused_before_training():
    small = Card(title="x", classes=("a", "b"), shape=(1, 12, 12), recipe=RECIPE)
    for arch in ("vgg11", "convnet4"):
        with pytest.raises(FormatError, match=f"{arch} halves images . times: 12×12 .* is too small"):
            plan(small, "x", arch=arch)


def test_torchvision_is_asked_for_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DsetpackError, match="densenet121 is torchvision's"):
        plan(card(), "x", arch="densenet121")

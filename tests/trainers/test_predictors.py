"""Kernel ridge regression on the features of a trained network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.card import Labels, Provenance, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import kind_config
from dsetpack.trainers.evaluate import evaluate
from dsetpack.trainers.networks import network
from dsetpack.trainers.predictors import Ridge, ridge_of, ridge_predictor
from dsetpack.trainers.recipe import as_json, load_recipe

COUNT, CLASSES = 7, 3


def pack(channels=1, labels=None, settings=None, **card):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(COUNT, channels, 8, 8, generator=g)
    y = torch.arange(COUNT) % CLASSES if labels is None else labels
    provenance = Provenance(settings={"objective": settings}) if settings else Provenance()
    classes = tuple("abc")
    return dsetpack.Pack.from_arrays(x.numpy(), y.numpy(), classes=classes, provenance=provenance, **card)


def closed_form(model, images, targets, test, ridge=1e-6, trace=False):
    """Equation 4 in numpy, as the released code has it: a solve of the kernel, then the kernel of test and support."""
    with torch.no_grad():
        s, t = (model.embed(x).double().numpy() for x in (images, test))
    kernel = s @ s.T
    amount = ridge * np.trace(kernel) / (1 if trace else len(kernel))
    return (t @ s.T) @ np.linalg.solve(kernel + amount * np.eye(len(kernel)), targets.numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["hard", "soft", "centred"])
def test_it_is_the_closed_form(channels, kind):
    soft = torch.softmax(torch.randn(COUNT, CLASSES, generator=torch.Generator().manual_seed(1)), 1)
    hard = torch.arange(COUNT) % CLASSES
    labels = {"hard": None, "soft": soft, "centred": soft - 1 / CLASSES}[kind]
    stored = None if kind == "hard" else Labels(kind="soft", centred=kind == "centred")
    made = pack(channels, labels)
    if stored is not None:
        made = made.replace_card(labels=stored)
    model = network("convnet3", (channels, 8, 8), CLASSES, 4, seed=1).eval()
    test = torch.randn(5, channels, 8, 8, generator=torch.Generator().manual_seed(2))
    targets = (torch.eye(CLASSES)[hard] if kind == "hard" else soft).double() - 1 / CLASSES
    images = made.decode(list(range(COUNT)))[0]
    if channels == 3:  # mirror images are solved for, too
        images, targets = torch.cat([images, images.flip(3)]), torch.cat([targets, targets])
    with torch.no_grad():
        found = ridge_predictor(model, made)(test)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), closed_form(model, images, targets, test), atol=1e-6)


def test_the_support_is_predicted_as_it_is_labelled():
    made = pack()
    model = network("convnet3", (1, 8, 8), CLASSES, 32).eval()
    images, labels = made.decode(list(range(COUNT)))
    with torch.no_grad():
        found = ridge_predictor(model, made)(images)
    assert torch.equal(found.argmax(1), labels)


def test_the_ridge_is_the_methods():
    model = network("convnet3", (3, 8, 8), CLASSES, 4).eval()
    test = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    made = pack(3, settings={"name": "isa", "ridge": 0.1, "ridge_scale": "trace", "flip": False, "pool": 10})
    assert ridge_of(made.card) == Ridge(ridge=0.1, ridge_scale="trace", flip=False)
    images, labels = made.decode(list(range(COUNT)))
    expected = closed_form(model, images, torch.eye(CLASSES)[labels].double() - 1 / CLASSES, test, 0.1, trace=True)
    with torch.no_grad():
        np.testing.assert_allclose(ridge_predictor(model, made)(test).numpy(), expected, atol=1e-6)
    assert ridge_of(pack().card) == Ridge(ridge=1e-6, ridge_scale="mean", flip=None)
    for name, scale in (("frepo", "mean"), ("isa", "trace")):
        settings = as_json(load_recipe(name))["objective"]
        assert ridge_of(pack(settings=settings).card) == Ridge(ridge=1e-6, ridge_scale=scale)
    with pytest.raises(FormatError, match="card.provenance.settings.objective: ridge"):
        ridge_of(pack(settings={"ridge": -1.0}).card)


def test_large_packs_are_embedded_in_pieces(monkeypatch):
    model, made = network("convnet3", (1, 8, 8), CLASSES, 4).eval(), pack()
    test = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        whole = ridge_predictor(model, made)(test)
        monkeypatch.setattr("dsetpack.trainers.predictors._AT_ONCE", 3)
        assert torch.allclose(ridge_predictor(model, made)(test), whole, atol=1e-6)


def test_what_it_is_not_for():
    with pytest.raises(FormatError, match="needs features; Flatten does not"):
        ridge_predictor(torch.nn.Flatten(), pack())
    config = kind_config("generator")(width=8)
    recipe = Recipe(steps=1, width=4)
    card = Card(title="g", classes=("a", "b", "c"), shape=(1, 28, 28), per_class=4, recipe=recipe)
    bank = decoder("generator", config, card.shape, 3).eval()
    made = Pack(card, [Part("generator", config, bank, None, torch.arange(3).repeat_interleave(4))])
    from dsetpack.trainers.data import ImageData

    test = ImageData(torch.zeros(2, 1, 28, 28), torch.tensor([0, 2]), ("a", "b", "c"), "black")
    with pytest.raises(FormatError, match="needs a fixed set of images"):
        evaluate(made, test, predictor="krr")

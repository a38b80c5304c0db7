"""Evaluation."""

import json
import statistics

import pytest
import torch
from torch import nn

import dsetpack
from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.batched import train_together
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import _share, accuracies, accuracy, evaluate, fresh, measure
from dsetpack.trainers.predictors import ridge_predictor
from dsetpack.trainers.protocols import COMMON, COMMON_AUGMENTATION, plan
from dsetpack.trainers.seeds import derive
from dsetpack.training.train import train
from tests.support.stripes import RECIPE, stripes


def pack(**card) -> dsetpack.Pack:
    data = stripes(16, seed=1)
    return dsetpack.Pack.from_arrays(data.images, data.labels, classes=data.classes, recipe=RECIPE, **card)


class Says(nn.Module):
    """Always gives the same logits."""

    def forward(self, x):
        return torch.tensor([0.0, 1.0]).expand(len(x), 2)


def test_accuracy_is_the_share_of_right_answers():
    data = stripes(11)
    model = Says().train()
    assert accuracy(model, data, Raw()) == 5 / 11
    assert model.training


def test_evaluate_is_the_mean_over_seeds_and_repeats():
    made, test = pack(), stripes()
    found = accuracies(made, test, seeds=3)
    metric = evaluate(made, test, seeds=3)
    assert metric.value == statistics.fmean(found)
    assert metric.std == pytest.approx(statistics.stdev(found))
    assert (metric.seeds, metric.arch, metric.width) == (3, "convnet3", 4)
    assert metric.test_digest == test.digest
    assert metric.protocol == "own"
    assert metric.value > 0.8
    assert accuracies(made, test, seeds=[2]) == found[2:]
    assert evaluate(made, test, seeds=1).std is None


def test_evaluate_trains_and_tests_in_the_packs_space():
    data = stripes(16, seed=1)
    space = Normalized.fit(data.images)
    seen = []

    class Watched(Normalized):
        def apply(self, x):
            seen.append(tuple(x.shape))
            return super().apply(x)

    made = dsetpack.Pack.from_arrays(
        space.apply(data.raw()), data.labels, classes=data.classes, space=Watched(space.model), recipe=RECIPE
    )
    evaluate(made, stripes(), seeds=1)
    assert (60, 1, 16, 16) in seen


def test_options_override_the_card():
    made, test = pack(augmentation=Augmentation(ops=("flip",))), stripes()
    other = RECIPE.model_copy(update={"steps": 2})
    metric = evaluate(made, test, seeds=1, recipe=other, arch="alexnet", width=8, augmentation=None)
    assert (metric.arch, metric.width, metric.protocol) == ("alexnet", 8, "changed")
    assert json.loads(metric.note) == {"steps": 2, "arch": "alexnet", "width": 8, "augmentation": None}
    assert fresh(made, RECIPE, 0).features == 4 * 2 * 2


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({}, None),
        ({"arch": "convnet3", "width": 4, "recipe": RECIPE, "augmentation": Augmentation(ops=("flip",))}, None),
        ({"augmentation": None}, {"augmentation": None}),
        ({"width": 5}, {"width": 5}),
        ({"arch": "convnet4"}, {"arch": "convnet4", "width": None}),
        ({"arch": "convnet4", "width": 4}, {"arch": "convnet4"}),
    ],
)
def test_a_protocol_is_own_only_if_nothing_differs_from_the_card(options, note):
    made, test = pack(augmentation=Augmentation(ops=("flip",))), stripes()
    metric = evaluate(made, test, seeds=1, **options)
    assert metric.protocol == ("changed" if note else "own")
    assert (metric.note and json.loads(metric.note)) == note


def test_without_a_recipe_in_the_card_the_note_says_all_of_it():
    made, test = pack().replace_card(recipe=None), stripes()
    metric = evaluate(made, test, seeds=1, recipe=RECIPE)
    assert metric.protocol == "changed"
    assert Recipe(**json.loads(metric.note)) == RECIPE
    with pytest.raises(FormatError, match="augmentation is 'dsa'"):
        evaluate(made, test, recipe=RECIPE, augmentation="dsa")


def test_evaluate_refuses_what_does_not_fit():
    test = stripes()
    other = ImageData(test.images[:, :, :8], test.labels, test.classes, "half")
    with pytest.raises(FormatError, match=r"half has images of \[1, 8, 16\]; the pack makes \[1, 16, 16\]"):
        evaluate(pack(), other)
    more = ImageData(test.images, test.labels, ("a", "b", "c"), "three")
    with pytest.raises(FormatError, match="3 classes; the pack has 2"):
        evaluate(pack(), more)
    bare = dsetpack.Pack.from_arrays(test.images, test.labels)
    with pytest.raises(FormatError, match="no recipe in its card; give one, or use the protocol 'common'"):
        evaluate(bare, test)


def trained(made, seed, steps=None):
    """The network of a seed, trained with train() alone."""
    model = fresh(made, RECIPE, seed)
    train(model, made, recipe=RECIPE, augmentation=None, seed=derive(seed, "order"), device="cpu", steps=steps)
    return model


def test_readings_change_nothing_but_the_note():
    made, test = pack(), stripes(61, noise=256)
    recipe = RECIPE.model_copy(update={"lr": 0.3})
    made = made.replace_card(recipe=recipe)
    plain = evaluate(made, test, seeds=3)
    metric = evaluate(made, test, seeds=3, readings=4)
    assert (metric.value, metric.std, metric.protocol, plain.note) == (plain.value, plain.std, "own", None)
    found = json.loads(metric.note)
    assert list(found) == ["best_of"]
    every = []
    for seed in range(3):
        seen, model = [], fresh(made, recipe, seed)
        train(
            model,
            made,
            recipe=recipe,
            augmentation=None,
            seed=derive(seed, "order"),
            device="cpu",
            after=lambda done, total, model=model, seen=seen: seen.append(accuracy(model, test, Raw())),
        )
        every.append([seen[step - 1] for step in (3, 6, 9, 12)])
    assert plain.value == statistics.fmean(seen[-1] for seen in every)
    best = [max(seen) for seen in every]
    assert found["best_of"] == {"readings": 4, "value": statistics.fmean(best), "std": statistics.stdev(best)}
    assert best != [seen[-1] for seen in every]  # else this test could not fail
    many = json.loads(evaluate(made, test, seeds=1, readings=100, width=5).note)
    assert many == {"width": 5, "best_of": {"readings": 12, "value": many["best_of"]["value"], "std": None}}


def test_one_training_serves_several_test_sets(monkeypatch):
    made, test = pack(), stripes()
    noisy = stripes(40, seed=7, noise=256)
    calls = []
    monkeypatch.setattr("dsetpack.trainers.evaluate.train", lambda *a, **k: calls.append(0) or train(*a, **k))
    found = measure(made, [test, noisy], plan(made.card, test.name, seeds=2))
    assert len(calls) == 2
    for data, one in zip((test, noisy), found, strict=True):
        assert one.last == [accuracy(trained(made, seed), data, Raw()) for seed in (0, 1)]
        assert (one.metric.test_digest, one.metric.protocol) == (data.digest, "own")
        assert one.best == one.last
    assert found[0].last != found[1].last


def test_seeds_in_one_pass_give_the_same_accuracies(monkeypatch):
    made, test = pack(augmentation=Augmentation(ops=("flip", "color"))), stripes(400, noise=256)
    alone = accuracies(made, test, seeds=12, batched=False)
    sizes = []

    def counted(models, *arguments, **options):
        sizes.append(len(models))
        return train_together(models, *arguments, **options)

    monkeypatch.setattr("dsetpack.trainers.evaluate.train_together", counted)
    together = accuracies(made, test, seeds=12, batched=True)
    assert sizes == [10, 2]
    assert together == pytest.approx(alone, abs=0.01)
    assert len(set(alone)) > 3
    assert accuracies(made, test, seeds=2) == alone[:2]  # on a CPU one by one is the default
    sizes.clear()
    evaluate(made, test, seeds=2, arch="resnet10", width=2, batched=True)  # batch norm: one by one, and no complaint
    assert sizes == []


def test_one_pass_is_taken_where_it_is_worth_it(monkeypatch):
    made, test, asked = pack(), stripes(), []
    monkeypatch.setattr(
        "dsetpack.trainers.evaluate.worthwhile", lambda models, *a: asked.append((len(models), *a)) or True
    )
    monkeypatch.setattr("dsetpack.trainers.evaluate.train", None)  # must not be called
    assert evaluate(made, test, seeds=3).seeds == 3
    assert asked == [(3, (1, 16, 16), 2, 8, RECIPE, torch.device("cpu"))]


def test_the_common_protocol_is_the_same_for_all_packs(monkeypatch):
    seen = []

    def quick(model, pack, *, recipe, augmentation, **options):
        seen.append((recipe, augmentation))
        return train(model, pack, recipe=RECIPE, augmentation=None, **options)

    monkeypatch.setattr("dsetpack.trainers.evaluate.train", quick)
    test = stripes()
    for card in ({}, {"augmentation": Augmentation(ops=("crop",))}):
        metric = evaluate(pack(**card), test, protocol="common", seeds=1)
        assert (metric.protocol, metric.note, metric.arch, metric.width) == ("common", None, "convnet3", 128)
    bare = pack().replace_card(recipe=None)
    assert evaluate(bare, test, protocol="common", seeds=1).protocol == "common"
    assert seen == [(COMMON, COMMON_AUGMENTATION)] * 3
    assert (COMMON.steps, COMMON.epochs, COMMON.lr, COMMON.batch_size) == (2000, None, 0.01, 256)
    metric = evaluate(bare, test, protocol="common", seeds=1, arch="resnet10", augmentation=None)
    assert metric.protocol == "changed"
    assert json.loads(metric.note) == {"base": "common", "arch": "resnet10", "width": None, "augmentation": None}


def test_the_kernel_ridge_predictor_has_its_own_name():
    made, test = pack(), stripes()
    metric = evaluate(made, test, seeds=2, predictor="krr")
    assert (metric.name, metric.protocol) == ("krr accuracy", "own")
    model = trained(made, 0).eval()
    expected = _share(ridge_predictor(model, made), test, Raw())
    assert accuracies(made, test, seeds=1, predictor="krr") == [expected]
    assert expected > 0.8

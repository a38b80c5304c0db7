"""Evaluation and the fair baseline."""

import json
import statistics

import numpy as np
import pytest
import torch
from torch import nn

import dsetpack
from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.baselines import images_within, measure_random, random_pack, stored_bytes
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.evaluate import accuracies, accuracy, evaluate, fresh

RECIPE = Recipe(steps=12, batch_size=8, lr=0.05, width=4)


def stripes(count: int = 60, seed: int = 0, noise: int = 40) -> ImageData:
    """Class 0 has rows, class 1 has columns."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    pattern = torch.zeros(2, 1, 16, 16)
    pattern[0, :, ::4], pattern[1, :, :, ::4] = 180, 180
    x = pattern[y] + torch.randint(0, noise, (count, 1, 16, 16), generator=g)
    return ImageData(x.to(torch.uint8), y, ("rows", "columns"), "stripes")


def pack(**card) -> dsetpack.Pack:
    data = stripes(16, seed=1)
    return dsetpack.Pack.from_arrays(data.images, data.labels, classes=data.classes, recipe=RECIPE, **card)


class Says(nn.Module):
    """Always the same logits."""

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
        ({"arch": "convnet4"}, {"arch": "convnet4"}),
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
    with pytest.raises(FormatError, match="no recipe"):
        evaluate(bare, test)


def test_random_packs_are_real_images_of_every_class():
    data = stripes()
    made = random_pack(data, 3, seed=0)
    x, y = made.decode(list(range(6)))
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    pixels = {image.tobytes() for image in data.images.numpy()}
    assert all(image.tobytes() in pixels for image in np.rint(x.numpy() * 255).astype(np.uint8))
    space = Normalized.fit(data.images)
    inside = random_pack(data, 3, seed=0, space=space)
    assert torch.allclose(inside.decode(list(range(6)))[0], space.apply(x), atol=1e-5)
    assert len(made.to_bytes()) == stored_bytes(data, 3)  # 8-bit pixels, compressed
    assert len(made.to_bytes()) < len(inside.to_bytes())


def test_as_many_images_as_fit():
    data = stripes(80, noise=256)
    size = stored_bytes(data, 7)
    assert images_within(data, size) == 7
    assert images_within(data, size - 1) == 6
    assert images_within(data, 10) == 1
    assert images_within(data, 10**9) == 40


def test_the_baseline_takes_its_best_rate():
    data, test = stripes(), stripes(40, seed=9)
    found = measure_random(
        data, test, 2, recipe=RECIPE, augmentation=None, space=Raw(), subsets=2, rates=(1e-6, 1.0), seed=0
    )
    assert found.lr == RECIPE.lr
    assert found.accuracy > 0.6
    assert (found.per_class, found.subsets) == (2, 2)
    assert found.bytes == pytest.approx(stored_bytes(data, 2), abs=200)

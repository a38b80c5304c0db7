"""What recipes say about training on a set: the row, the nearest row, or the method's own recipe."""

import re

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.recipes.tables import recipe_names
from dsetpack.recipes.training import NO_FLIP, as_augmentation, training_by, training_of
from dsetpack.trainers.recipe import for_data, load_recipe
from tests.support.release_layouts import ROWS


def test_dc_trains_mnist_as_its_release_does():
    """1000 epochs with crop, scale and rotate; other data for 300 epochs without augmentation."""
    digits = training_by("dc", data="mnist", images=10, classes=10)
    assert (digits.name, digits.recipe.epochs) == ("dc-mnist-ipc1", 1000)
    assert (digits.augmentation.ops, digits.augmentation.rotate) == (("crop", "scale", "rotate"), 45.0)
    other = training_by("dc", data="cifar10", images=10, classes=10)
    assert (other.recipe.epochs, other.augmentation) == (300, None)


@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_found_and_states_what_the_validated_recipe_does(name):
    found = load_recipe(name)
    classes = ROWS[name].classes
    training = training_by(found.method, data=found.data, images=ROWS[name].each * classes, classes=classes)
    assert training.name == name
    known = for_data(found, found.data)
    assert (training.method, training.recipe) == (found.method, known.evaluation)
    assert training.augmentation == known.augmentation
    assert training == training_of(name, found.data)
    assert training.learned == hasattr(found.objective, "lr_lr")


def test_the_rows_are_all_rows():
    assert set(ROWS) == {name for name in recipe_names() if "-cpu-" not in name}


@pytest.mark.parametrize(
    ("each", "name"),
    [(1, "ipc1"), (3, "ipc1"), (4, "ipc10"), (20, "ipc10"), (23, "ipc50"), (200, "ipc50"), (0.5, "ipc1")],
)
def test_the_nearest_budget_in_ratio(each, name):
    """Between 1 and 10 the middle is √10 = 3.16; between 10 and 50 it is 22.4."""
    assert training_by("dc", data="mnist", images=int(each * 10), classes=10).name == f"dc-mnist-{name}"


def test_another_size_of_frepo_takes_the_length_for_its_number_of_images():
    found = training_by("frepo", data="cifar10", images=200, classes=10)
    assert (found.name, found.recipe.steps, found.recipe.batch_size) == ("frepo-cifar10-ipc10", 20_000, 200)
    exact = training_by("frepo", data="tiny-imagenet", images=2000, classes=200)
    assert (exact.recipe.steps, exact.recipe.arch) == (40_000, "frepo4-nonorm")
    unknown = training_by("frepo", data="birds", images=200, classes=200)
    assert (unknown.name, unknown.recipe.steps, unknown.recipe.arch) == ("frepo", 20_000, "frepo3-nonorm")


def test_digits_are_not_mirrored_in_rows_and_methods():
    for data in NO_FLIP:
        for method in ("dsa", "dm", "mtt", "haba", "idc", "frepo"):
            assert "flip" not in training_by(method, data=data, images=10, classes=10).augmentation.ops
    assert "flip" in training_by("dsa", data="birds", images=10, classes=10).augmentation.ops
    assert "flip" in training_by("dsa", data=None, images=10, classes=10).augmentation.ops


def test_a_recipe_by_name_or_file(tmp_path):
    assert training_of("idc-cpu").recipe.cutmix == 0.0
    path = tmp_path / "mine.toml"
    path.write_text('base = "mtt"\n[evaluation]\nlr = 3.0\n')
    mine = training_of(path)
    assert (mine.name, mine.method, mine.recipe.lr, mine.learned) == ("mine", "mtt", 3.0, True)
    path.write_text('base = "mtt"\n[evaluation]\nlr = "fast"\n')
    with pytest.raises(FormatError, match=re.escape(f"recipe {path}: lr: ")):
        training_of(path)
    with pytest.raises(FormatError, match="no recipe 'dsaa'; nearest is 'dsa"):
        training_by("dsaa", data=None, images=1, classes=1)


def test_words_for_augmentations():
    assert as_augmentation("none") is None
    assert as_augmentation("dsa") == {"ops": ["color", "crop", "cutout", "flip", "scale", "rotate"]}
    assert as_augmentation({"ops": ["flip"]}) == {"ops": ["flip"]}

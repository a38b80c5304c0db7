"""Usual names: pairs, splits, capital letters, and what is missing."""

import pytest

from dsetpack.files.names import IMAGES, LABELS, images_in, labels_for, labels_name, splits_of, usual
from dsetpack.formats.errors import FormatError


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["x_train", "y_train", "x_test", "y_test"], ("x_train", "y_train"), ("x_test", "y_test")),
        (["train_images", "train_labels", "val_images", "val_labels"], ("train_images", "train_labels"),
         ("val_images", "val_labels")),
        (["test_x", "test_y", "val_x", "val_y", "train_x", "train_y"], ("train_x", "train_y"), ("test_x", "test_y")),
        (["images", "labels", "x_test", "y_test"], ("images", "labels"), ("x_test", "y_test")),
        (["images", "labels"], ("images", "labels"), None),
        (["image", "label"], ("image", "label"), None),
        (["x", "y"], ("x", "y"), None),
        (["data", "targets"], ("data", "targets"), None),
        (["data", "labels"], ("data", "labels"), None),
        (["X", "y"], ("X", "y"), None),
        (["X", "x", "Y", "y"], ("x", "y"), None),
        (["X_train", "Y_train", "X_valid", "Y_valid"], ("X_train", "Y_train"), ("X_valid", "Y_valid")),
        (["x", "y", "labels"], ("x", "y"), None),
        (["images"], ("images", None), None),
        (["x_train", "y_test", "labels"], ("x_train", None), None),
        (["images", "labels", "x_train", "y_train"], ("x_train", "y_train"), None),
    ],
)  # fmt: skip
def test_pairs_and_splits(names, train, test):
    assert usual(names)[:2] == train
    assert usual(reversed(names))[:2] == train
    if test is None:
        with pytest.raises(FormatError, match=r"no test split: no array x_test, test_images or the like; it holds "):
            usual(names, "test")
    else:
        assert usual(names, "test")[:2] == test


def test_classes_and_other_arrays():
    assert usual(["images", "labels", "classes", "mean"]) == ("images", "labels", "classes")
    assert usual(["images", "labels"]).classes is None


def test_what_is_missing_is_named():
    with pytest.raises(FormatError, match=r"no array of images: images, .*, x_train, .* expected; it holds a, b$"):
        usual(["b", "a"])
    with pytest.raises(FormatError, match=r"it holds nothing$"):
        usual([])
    with pytest.raises(FormatError, match=r"no train split: .*; it holds x_test, y_test$"):
        usual(["x_test", "y_test"])


def test_like():
    names = ["x", "y", "images", "labels", "x_test", "y_test", "images_val", "labels_val"]
    assert usual(names, "train", "x")[:2] == ("x", "y")
    assert usual(names, "test", "x")[:2] == ("x_test", "y_test")
    assert usual(names, "train", "x_test")[:2] == ("x", "y")
    assert usual(names, "test", "images")[:2] == ("images_val", "labels_val")
    assert usual([*names, "x_train"], "train", "x")[:2] == ("x", "y")  # the named array itself, not its like
    with pytest.raises(FormatError, match="'pixels' is no usual name of images"):
        usual(names, "train", "pixels")


def test_labels_that_go_with_images():
    assert labels_for("x", ["x", "labels", "y"]) == "y"
    assert labels_for("X_test", ["y", "Y_test"]) == "Y_test"
    assert labels_for("x", ["y_train"]) is None
    assert labels_for("pixels", ["y", "labels"]) is None
    assert [labels_name(name) for name in ("x_train", "data", "val_images")] == ["y_train", "targets", "val_labels"]


def test_which_names_are_usual():
    assert images_in(["x_train", "y_train", "train_labels", "train_exact", "images", "X"]) == ("x_train", "images", "X")
    assert splits_of(["val_x", "x_train"]) == ("train", "test")
    assert splits_of(["images", "labels", "y_test"]) == ()
    assert len(IMAGES) == len(LABELS)

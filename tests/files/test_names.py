"""Usual names: pairs, splits, capital letters, and what is missing."""

import warnings

import pytest

from dsetpack.files.names import IMAGES, LABELS, images_in, labels_for, labels_name, split_of, usual, usual_splits
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice


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
        (["X_training", "Y_training", "x_validation", "y_validation"], ("X_training", "Y_training"),
         ("x_validation", "y_validation")),
        (["train_images", "train_label"], ("train_images", "train_label"), None),
        (["x_train", "train_labels"], ("x_train", "train_labels"), None),
    ],
)  # fmt: skip
def test_pairs_and_splits(names, train, test):
    found = {split: pair[:2] for split, pair in usual_splits(names).items()}
    assert found == {"train": train} | ({"test": test} if test else {})
    for split, pair in found.items():
        assert usual(reversed(names), split, "here")[0][:2] == pair


@pytest.mark.parametrize(
    ("names", "test"),
    [
        (["x_test", "y_test"], ("x_test", "y_test")),
        (["val_image", "val_y"], ("val_image", "val_y")),
        (["X_testing", "x_valid", "y_testing"], ("X_testing", "y_testing")),
        (["y_train", "a"], None),
        ([], None),
    ],
)
def test_no_training_images(names, test):
    assert {split: pair[:2] for split, pair in usual_splits(names).items()} == ({"test": test} if test else {})


def test_classes_and_other_arrays():
    assert usual(["images", "labels", "classes", "mean"], "train", "here")[0] == ("images", "labels", "classes")
    assert usual(["images", "labels"], "train", "here")[0].classes is None


def test_what_is_missing_is_named():
    with pytest.raises(
        FormatError, match=r"here: no array of images: images, .*, x_train, .* expected; it holds a, b$"
    ):
        usual(["b", "a"], None, "here")
    with pytest.raises(FormatError, match=r"it holds nothing$"):
        usual([], "train", "here")
    with pytest.raises(FormatError, match=r"here: it has a split 'test', but none of train, training$"):
        usual(["x_test", "y_test"], "train", "here")
    with pytest.raises(FormatError, match=r"here: it has a split 'train', but none of test, testing, val, valid"):
        usual(["x_train", "y_test", "labels"], "test", "here")


def test_arrays_without_splits_are_their_own_train():
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        for split in (None, "train"):
            assert usual(["labels", "y", "Image", "x"], split, "here") == (("Image", "labels", None), None)
    with pytest.raises(FormatError, match="here: the test split needs arrays such as x_test and y_test; it holds x$"):
        usual(["x"], "test", "here")


def test_the_split_that_is_taken_is_said():
    with pytest.warns(Notice, match=r"here: the split 'train' is read; pass split='test'"):
        assert usual(["x", "y", "x_test"], None, "here") == (("x", "y", None), "train")
    with pytest.warns(Notice, match=r"here: the split 'test' is read; its only one"):
        assert usual(["x_test"], None, "here") == (("x_test", None, None), "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert usual(["x_train", "x", "y"], None, "here") == (("x_train", None, None), "train")
        assert usual(["x", "x_test", "y_test"], "test", "here") == (("x_test", "y_test", None), "test")


def test_like():
    names = ["x", "y", "images", "labels", "x_test", "y_test", "images_val", "labels_val"]

    def found(split, like, *more):
        return usual([*names, *more], split, "here", like)[0][:2]

    assert found("train", "x") == ("x", "y")
    assert found("test", "x") == ("x_test", "y_test")
    assert found("train", "x_test") == ("x", "y")
    assert found("test", "images") == ("images_val", "labels_val")
    assert found("train", "x", "x_train") == ("x", "y")  # the named array itself, not its like
    assert usual_splits(["x", "images_test"], "x").keys() == {"train"}
    with pytest.raises(FormatError, match="'pixels' is no usual name of images"):
        found("train", "pixels")


def test_labels_that_go_with_images():
    assert labels_for("x", ["x", "labels", "y"]) == "y"
    assert labels_for("X_test", ["y", "Y_test"]) == "Y_test"
    assert labels_for("x", ["y_train"]) is None
    assert labels_for("pixels", ["y", "labels"]) is None
    assert [labels_name(name) for name in ("x_train", "data", "val_images")] == ["y_train", "targets", "val_labels"]


def test_which_names_are_usual():
    assert images_in(["x_train", "y_train", "train_labels", "train_exact", "images", "X"]) == ("x_train", "images", "X")
    assert [split_of(name) for name in ("val_x", "X_training", "images", "y_test")] == ["test", "train", None, None]
    assert len(IMAGES) == len(LABELS)

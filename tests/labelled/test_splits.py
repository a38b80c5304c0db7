"""Splits of folders and of named arrays."""

import warnings

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.labelled.splits import Pair, named_arrays, split_arrays, split_folders, taken


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (["train/cat", "test/cat"], {"train": "train", "test": "test"}),
        (["train/cat", "val/cat"], {"train": "train", "test": "val"}),
        (["Training/cat", "Testing/cat"], {"train": "Training", "test": "Testing"}),
        (["train/cat", "valid/cat", "test/cat"], {"train": "train", "test": "test"}),
        (["train/cat", "validation/cat", "notes", ".git"], {"train": "train", "test": "validation"}),
        (["test/cat"], {"test": "test"}),
        (["train", "test"], {"train": "train", "test": "test"}),
        (["train", "car", "ship"], {}),  # vehicles
        (["cat", "dog"], {}),
        ([], {}),
    ],
)
def test_folders_of_splits(tmp_path, folders, found):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    assert {split: path.name for split, path in split_folders(tmp_path).items()} == found


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["x_train", "y_train", "x_test", "y_test"], {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}),
        (["X_train", "X_test"], {"train": ("X_train", None), "test": ("X_test", None)}),
        (["train_images", "train_label"], {"train": ("train_images", "train_label")}),
        (["val_image", "val_y"], {"test": ("val_image", "val_y")}),
        (["images", "labels"], {}),
        (["y_train"], {}),
    ],
)
def test_arrays_of_splits(names, found):
    assert split_arrays(names) == {split: Pair(*pair) for split, pair in found.items()}


def test_arrays_without_splits_are_their_own_train():
    for split in (None, "train"):
        assert named_arrays(["labels", "y", "Image", "x"], split, "here") == (Pair("Image", "labels"), None)
    with pytest.raises(FormatError, match="here: the test split needs arrays such as x_test and y_test; it holds x"):
        named_arrays(["x"], "test", "here")
    with pytest.raises(FormatError, match=r"here: no array of images .*; it holds a, y_train"):
        named_arrays(["y_train", "a"], None, "here")
    assert named_arrays(["x", "x_test", "y_test"], "test", "here") == (Pair("x_test", "y_test"), "test")


def test_the_split_that_is_taken_is_said_unless_it_was_asked_for():
    with pytest.warns(Notice, match=r"here: the split 'train' is read; pass split='test' \(--split test\)"):
        assert taken(["test", "train"], None, "here") == "train"
    with pytest.warns(Notice, match="'test' is read; its only one"):
        assert taken(["test"], None, "here") == "test"
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert taken(["test", "train"], "test", "here") == "test"
    with pytest.raises(FormatError, match="here: it has a split 'train', but none of test, testing, val"):
        taken(["train"], "test", "here")

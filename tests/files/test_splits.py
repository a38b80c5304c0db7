"""Splits: their folders, and the one that is taken."""

import warnings

import pytest

from dsetpack.files.splits import split_folders, taken
from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice


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


def test_the_split_that_is_taken_is_said_unless_it_was_asked_for():
    with pytest.warns(Notice, match=r"here: the split 'train' is read; pass split='test' \(--split test\)"):
        assert taken(["test", "train"], None, "here") == "train"
    with pytest.warns(Notice, match="'test' is read; its only one"):
        assert taken(["test"], None, "here") == "test"
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert taken(["test", "train"], "test", "here") == "test"
        assert taken(["train"], None, "here") == "train"
    with pytest.raises(FormatError, match="here: it has a split 'train', but none of test, testing, val"):
        taken(["train"], "test", "here")

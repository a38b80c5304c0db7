"""The classes of converted files: an image keeps its class, and no class is missing without a word."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from dsetpack.convert import convert
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import load
from tests.support.bad_sources import refused

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet():
    """Where a test does not expect a notice, none is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        yield


def folder(root, names):
    """One folder per name; its only image has the place of the name as its grey value."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(root / name / "a.png")
    return root


def array(path, labels, classes=None):
    more = {} if classes is None else {"classes": np.array(classes)}
    np.savez(path, images=np.zeros((len(labels), 4, 4), np.uint8), labels=np.array(labels), **more)
    return path


def named(pack):
    """The class name of each grey value."""
    values = (pack.parts[0].sources[:, 0, 0, 0] * 255).round().int().tolist()
    return {value: pack.card.classes[label] for value, label in zip(values, pack.labels.tolist(), strict=True)}


@pytest.mark.parametrize("classes", [None, 12, tuple(map(str, range(12))), tuple("abcdefghijkl")])
def test_twelve_numbered_folders_keep_their_numbers(tmp_path, classes):
    names = [str(n) for n in range(12)]
    pack = convert(folder(tmp_path, names), classes=classes)
    assert named(pack) == dict(enumerate(classes if isinstance(classes, tuple) else names))
    assert pack.card.classes[10] == named(pack)[10]
    assert torch.equal(load(tmp_path).labels, pack.labels)


def test_declared_names_in_another_order_renumber_the_labels(tmp_path):
    own = ["cat", "dog", "emu"]
    pack = convert(folder(tmp_path, own), classes=("emu", "cat", "dog"))
    assert pack.card.classes == ("emu", "cat", "dog")
    assert named(pack) == dict(enumerate(own))
    soft = tmp_path / "soft.npz"
    values = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [0.0, 0.5, 0.5]], np.float32)
    array(soft, values, own)
    turned = convert(soft, classes=("emu", "cat", "dog"))
    assert torch.equal(turned.labels, torch.from_numpy(values)[:, [2, 0, 1]])
    hard = convert(array(tmp_path / "hard.npz", [0, 1, 2], own), classes=("emu", "cat", "dog"))
    assert hard.labels.tolist() == [1, 2, 0]


def test_declared_classes_that_do_not_fit_the_own_ones(tmp_path):
    root = folder(tmp_path, ["cat", "dog", "emu"])
    refused(root, "have no 'emu'", "any order", classes=("cat", "dog", "fox"), space=None)
    refused(root, "3 classes (cat, dog, emu), and 2 are declared", classes=2, space=None)
    refused(root, "3 classes (cat, dog, emu), and 4 are declared", classes=4, space=None)
    assert convert(root, classes=3).card.classes == ("cat", "dog", "emu")
    with pytest.warns(Notice, match="cat, dog, emu are renamed in their order: Katze, Hund, Strauß"):
        assert named(convert(root, classes=("Katze", "Hund", "Strauß"))) == {0: "Katze", 1: "Hund", 2: "Strauß"}
    refused(root, "no image of class 0 ('ant')", "--absent", classes=("ant", "emu", "dog", "cat"), space=None)
    pack = convert(root, classes=("ant", "emu", "dog", "cat"), absent=True)
    assert named(pack) == {0: "cat", 1: "dog", 2: "emu"}
    assert pack.card.provenance.settings["converted"]["declared"]["absent"] is True


def test_labels_that_start_at_1_need_a_word(tmp_path):
    path = array(tmp_path / "x.npz", range(1, 11))
    refused(path, "no image of class 0 ('0')", "labels='one-based' (--labels one-based)", space=None)
    message = refused(path, "labels up to 10 for 10 classes", "labels='one-based'", classes=10, space=None)
    assert "say how many" not in message
    refused(path, "labels='one-based'", dataset="cifar10", space=None)
    pack = convert(path, labels="one-based", dataset="cifar10")
    assert pack.labels.tolist() == list(range(10))
    assert pack.card.classes[0] == "airplane"
    assert convert(path, labels="one-based").card.classes == tuple("0123456789")
    assert len(convert(path, absent=True).card.classes) == 11


def test_folders_that_start_at_1_need_a_word_where_names_are_declared(tmp_path):
    root = folder(tmp_path, ["1", "2", "3"])
    assert convert(root).card.classes == ("1", "2", "3")
    refused(root, "class numbers start at 0", "labels='one-based'", classes=("a", "b", "c"), space=None)
    assert named(convert(root, classes=("a", "b", "c"), labels="one-based")) == {0: "a", 1: "b", 2: "c"}
    refused(root, "names its classes (1, 2, 3)", labels="one-based", space=None)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5, 6, 8, 9], np.eye(10, dtype=int)[[0, 1, 2, 3, 4, 5, 6, 8, 9]]])
def test_an_absent_class_of_a_known_data_set_needs_a_word(tmp_path, labels):
    path = array(tmp_path / "x.npz", labels)
    for options in ({"dataset": "cifar10"}, {}, {"classes": 10}):
        refused(path, "no image of class 7", "absent=True (--absent)", space=None, **options)
        assert len(convert(path, absent=True, **options).card.classes) == 10


def test_a_folder_without_images_needs_a_word(tmp_path):
    root = folder(tmp_path, ["cat", "dog"])
    (root / "emu").mkdir()
    refused(root, "no image of class 2 ('emu')", space=None)
    assert convert(root, absent=True).card.classes == ("cat", "dog", "emu")


def test_a_soft_label_that_no_image_has(tmp_path):
    path = array(tmp_path / "x.npz", np.array([[0.5, 0.5, 0], [1, 0, 0]], np.float32))
    refused(path, "no image of class 2", space=None)
    assert convert(path, absent=True).labels.shape == (2, 3)


def test_folders_of_a_known_data_set(tmp_path):
    """Published names order the classes as the real data does; numbers are the data set's class numbers."""
    turned = convert(folder(tmp_path / "words", [name.replace("/", "-") for name in FASHION[1:]]), absent=True)
    assert turned.card.classes == tuple(sorted(FASHION[1:]))
    pack = convert(tmp_path / "words", absent=True, dataset="fashion-mnist")
    assert pack.card.classes == FASHION
    assert named(pack) == dict(enumerate(FASHION[1:]))
    digits = convert(folder(tmp_path / "numbers", map(str, range(10))), dataset="fashion-mnist")
    assert named(digits) == dict(enumerate(FASHION))
    (tmp_path / "numbers" / "7" / "a.png").unlink()
    (tmp_path / "numbers" / "7").rmdir()
    refused(tmp_path / "numbers", "no image of class 7 ('Sneaker')", dataset="fashion-mnist", space=None)
    assert named(convert(tmp_path / "numbers", dataset="fashion-mnist", absent=True))[9] == "Ankle boot"


def test_numbered_folders_of_a_data_set_whose_names_are_not_known_here(tmp_path):
    root = folder(tmp_path, [str(n) for n in range(100) if n != 42])
    refused(root, "no image of class 42", dataset="cifar100", space=None)
    assert named(convert(root, dataset="cifar100", absent=True))[98] == "99"


def test_own_names_of_a_known_data_set_are_kept(tmp_path):
    own = [f"n{number:02}" for number in range(10)]
    root = folder(tmp_path, own)
    with pytest.warns(Notice, match=r"own class names \(n00, n01, .*\) are kept; those of cifar10 are airplane"):
        assert convert(root, dataset="cifar10").card.classes == tuple(own)
    refused(root, "10 classes (n00", "cifar100 has 100", "--absent", dataset="cifar100", space=None)
    assert convert(root, dataset="cifar100", absent=True).card.classes == tuple(own)
    (root / "n10").mkdir()
    refused(root, "11 classes", "cifar10 has 10", "classes=", dataset="cifar10", space=None, absent=True)

"""Both versions of CIFAR: the same images and labels from either, and damaged files of the Python version."""

import pickle

import numpy as np
import pytest

from dsetpack.files.cifar import BINARY, PICKLED, version_in, versions
from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits
from tests.support.cifar_files import CIFAR10, FINE, python2, write_python10, write_python100
from tests.support.data_files import images

DUMPS = [python2, *(lambda held, n=n: pickle.dumps(held, n) for n in (2, 4, 5))]


@pytest.mark.parametrize("dump", DUMPS, ids=["Python 2", "2", "4", "5"])
def test_the_python_versions(tmp_path, dump):
    x, y = images(11), np.arange(11) % 10
    write_python10(tmp_path / "ten", x, y, test=3, dump=dump)
    write_python100(tmp_path / "hundred", x, 9 * y, dump)
    ten, hundred = version_in(tmp_path / "ten"), version_in(tmp_path / "hundred")
    assert (ten, hundred) == (PICKLED["cifar10"], PICKLED["cifar100"])
    train, test, fine = (
        ten.read(tmp_path / "ten", "train", Limits()),
        ten.read(tmp_path / "ten", "test", Limits()),
        hundred.read(tmp_path / "hundred", "test", Limits()),
    )
    assert np.array_equal(train.images, x)
    assert np.array_equal(test.images, x[:3])
    assert np.array_equal(fine.images, x)
    assert train.labels.tolist() == y.tolist()
    assert fine.labels.tolist() == (9 * y).tolist()
    assert (train.classes, fine.classes) == (CIFAR10, FINE)
    assert [file.name for file in test.files] == ["test_batch", "batches.meta"]


def test_keys_of_bytes_and_labels_in_arrays(tmp_path):
    """As ``pickle.load(file, encoding='bytes')`` gives them, pickled again."""
    x, y = images(5), np.arange(5)
    write_python10(tmp_path, x, y, dump=lambda held: pickle.dumps(pickle.loads(python2(held), encoding="bytes")))
    found = PICKLED["cifar10"].read(tmp_path, "train", Limits())
    assert (found.labels.tolist(), found.classes) == (y.tolist(), CIFAR10)
    write_python10(
        tmp_path,
        x,
        y,
        dump=lambda held: pickle.dumps({k: np.array(v) if k == "labels" else v for k, v in held.items()}),
    )
    assert PICKLED["cifar10"].read(tmp_path, "train", Limits()).labels.tolist() == y.tolist()


def test_what_a_folder_holds(tmp_path):
    assert version_in(tmp_path) is None
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(b"of something else")
    assert version_in(tmp_path) is None
    (tmp_path / "meta").write_bytes(b"")
    assert version_in(tmp_path) is PICKLED["cifar100"]
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_2").write_bytes(b"")
    assert version_in(folder) is PICKLED["cifar10"]
    (folder / "test_batch.bin").write_bytes(b"")
    assert version_in(folder) is BINARY["cifar10"]
    assert versions("cifar100") == (BINARY["cifar100"], PICKLED["cifar100"])


def refused(folder, *words, name="cifar10", kind=FormatError, limits=None):
    with pytest.raises(kind) as caught:
        PICKLED[name].read(folder, "train", limits or Limits())
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_damaged_files_of_the_python_version(tmp_path):
    x, y = images(5), np.arange(5)
    write_python10(tmp_path, x, y)
    third, good = tmp_path / "data_batch_3", (tmp_path / "data_batch_3").read_bytes()
    held = {"data": x[:2].reshape(2, -1), "labels": [0, 1]}
    for changes, words in (
        ({"labels": [0, 10]}, ["label 10 found; there are 10 classes"]),
        ({"labels": [0, -1]}, ["label -1 found"]),
        ({"labels": [0]}, ["2 images and labels [1]"]),
        ({"labels": [0, 1.5]}, ["labels is a list; a list of integers"]),
        ({"labels": ["cat", "dog"]}, ["a list of integers"]),
        ({"labels": [0, 1 << 70]}, ["a list of integers"]),
        ({"labels": np.zeros((2, 10), int)}, ["labels [2, 10]"]),
        ({"data": x[:2]}, ["data is uint8 [2, 3, 32, 32]; an array uint8 [N, 3072] expected"]),
        ({"data": held["data"].astype(float)}, ["data is float64 [2, 3072]"]),
        ({"data": held["data"].tolist()}, ["data is a list"]),
        ({"data": held["data"][:0], "labels": []}, ["0 images"]),
    ):
        third.write_bytes(pickle.dumps({**held, **changes}))
        refused(tmp_path, f"{third}: ", *words)
    third.write_bytes(python2({"data": held["data"]}))
    refused(tmp_path, f"{third}: ", "no entry 'labels'; it holds data")
    for cut in (0, 1, 100, len(good) // 2, len(good) - 1):
        third.write_bytes(good[:cut])
        refused(tmp_path, f"{third}: ", "cut off", "the binary version (cifar-10-batches-bin) is read, too")
    third.unlink()
    refused(tmp_path, f"{tmp_path}: no data_batch_3; the Python version of cifar10 has them")
    third.write_bytes(good)
    for names, words in (
        ({"label_names": ["cat"]}, ["1 class names; expected 10"]),
        ({"label_names": [1] * 10}, ["a list of class names"]),
        ({"fine_label_names": ["cat"]}, ["no entry 'label_names'; it holds fine_label_names"]),
    ):
        (tmp_path / "batches.meta").write_bytes(python2(names))
        refused(tmp_path, "batches.meta: ", *words)
    write_python10(tmp_path, x, y)
    refused(tmp_path, "data_batch_1: ", "raise limits.total", kind=LimitError, limits=Limits(total=2000))

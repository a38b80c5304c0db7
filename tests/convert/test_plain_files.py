"""Plain files as people keep them: pairs of ``.npy`` files, splits of arrays, CIFAR as torchvision leaves it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from dsetpack.convert import convert, detect
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import load
from tests.support.bad_sources import Runs, refused
from tests.support.cifar_files import CIFAR10, FINE, write_python10, write_python100
from tests.support.command_line import run
from tests.support.data_files import images
from tests.support.real_data import DATA, full

X, Y = images(12)[..., :8, :8], np.arange(12) % 3


def files(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return folder


def silently(source, **options):
    """Convert where nothing is decided for the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        return convert(source, **options)


def holds(pack, x, y) -> bool:
    assert pack.card.space.kind == "raw"
    assert np.array_equal((pack.parts[0].sources * 255).round().byte().numpy(), x)
    return pack.labels.tolist() == y.tolist()


def test_an_npy_file_with_declared_labels(tmp_path):
    folder = files(tmp_path, pixels=X, numbers=Y, y=Y[::-1], x=X)
    assert detect(folder / "pixels.npy") == "npy"
    assert holds(silently(folder / "pixels.npy", labels=folder / "numbers.npy"), X, Y)
    assert holds(silently(folder / "x.npy", labels=folder / "numbers.npy"), X, Y)  # not those of y.npy beside it
    assert holds(silently(folder / "pixels.npy", labels="order", classes=4), X, np.arange(12) // 3)


def test_an_npy_file_with_labels_beside_it(tmp_path):
    folder = files(tmp_path, x=X, y=Y, x_test=X[:6], y_test=Y[:6])
    for name, labels, count in (("x", "y", 12), ("x_test", "y_test", 6)):
        with pytest.warns(Notice, match=rf"{name}.npy: its labels are taken from {labels}.npy beside it; --labels"):
            pack = convert(folder / f"{name}.npy")
        assert holds(pack, X[:count], Y[:count])
        said = pack.card.provenance.settings["converted"]
        assert sorted(said["files"]) == [f"{name}.npy", f"{labels}.npy"]
    np.save(folder / "pixels.npy", X)
    refused(
        folder / "pixels.npy", "pixels.npy", "no labels", "such as y.npy beside x.npy", "--labels order", space=None
    )
    for split in ("train", "test"):
        refused(folder / "x.npy", "x.npy: the source has no splits", space=None, split=split)
    with pytest.warns(Notice, match="labels"):
        assert len(convert(folder / "x_test.npy", split="test")) == 6
    refused(folder / "x_test.npy", "x_test.npy: the test split, by its name", space=None, split="train")


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("data", "targets"), ("X", "y")])
def test_a_folder_of_npy_files(tmp_path, names):
    folder = files(tmp_path / "mine", **{names[0]: X, names[1]: Y}, classes=np.array(["a", "b", "c"]))
    assert detect(folder) == "npy"
    pack = silently(folder)
    assert holds(pack, X, Y)
    assert pack.card.classes == ("a", "b", "c")
    refused(folder, "mine: the test split needs arrays such as x_test and y_test", space=None, split="test")
    refused(folder, "the source has no splits", space=None, split="train")


@pytest.mark.parametrize("form", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("names", ["x_{}", "{}_images"])
def test_splits_of_arrays(tmp_path, form, names):
    images, labels = names, names.replace("x", "y").replace("images", "labels")
    arrays = {images.format("train"): X, labels.format("train"): Y}
    arrays |= {images.format("test"): X[:5], labels.format("test"): Y[:5]}
    path = tmp_path / (f"mine.{form}" if form != "npy" else "mine")
    if form == "npz":
        np.savez(path, **arrays)
    elif form == "npy":
        files(path, **arrays)
    else:
        safetensors.numpy.save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, path)
    assert detect(path) == form
    with pytest.warns(Notice, match=rf"{path.name}: the split 'train' is read; .*--split test"):
        assert holds(convert(path), X, Y)
    assert holds(silently(path, split="train"), X, Y)
    assert holds(silently(path, split="test"), X[:5], Y[:5])


def test_one_split_of_arrays(tmp_path):
    np.savez(tmp_path / "half.npz", x_train=X, y_train=Y)
    assert holds(silently(tmp_path / "half.npz"), X, Y)
    refused(tmp_path / "half.npz", "half.npz: it has a split 'train'", "none of test", space=None, split="test")
    np.savez(tmp_path / "other.npz", x_test=X, y_test=Y)
    with pytest.warns(Notice, match="other.npz: the split 'test' is read; its only one"):
        assert holds(convert(tmp_path / "other.npz"), X, Y)
    refused(tmp_path / "other.npz", "it has a split 'test', but none of train", space=None, split="train")
    assert holds(silently(tmp_path / "other.npz", split="test"), X, Y)


def test_npy_files_that_are_none(tmp_path):
    ran = tmp_path / "ran"
    folder = files(tmp_path / "mine", x=np.array([Runs(f"touch {ran}")], dtype=object), y=Y)
    for source in (folder, folder / "x.npy"):
        refused(source, "x.npy: an object array", "np.save(path, np.stack(list))", space=None, labels=folder / "y.npy")
    assert not ran.exists()
    files(folder, x=X, y=np.array([Runs(f"touch {ran}")], dtype=object))
    refused(folder, "y.npy: an object array", space=None)
    assert not ran.exists()
    whole = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(whole.replace(b"(12, 3, 8, 8)", b"(1 << 40, 3,)"))
    refused(folder, "x.npy", space=None)
    (folder / "x.npy").write_bytes(whole.replace(b"(12, 3, 8, 8)", b"(9999999, 3,)"))
    refused(folder, "x.npy: it declares 29,999,997 bytes and holds 2,304", space=None, labels="order")
    files(folder, x=X, y=Y[:-1])
    refused(folder, "y.npy: 11 labels for 12 images of x.npy", space=None)


def test_cifar_as_torchvision_leaves_it(tmp_path):
    ten, hundred = tmp_path / "cifar-10-batches-py", tmp_path / "cifar-100-python"
    x, y = images(15), np.arange(15) % 10
    write_python10(ten, x, y, test=10)
    write_python100(hundred, x, 7 * y)
    assert (detect(ten), detect(hundred)) == ("cifar", "cifar")
    with pytest.warns(Notice, match="cifar-10-batches-py: the split 'train' is read; .*--split test"):
        pack = convert(ten)
    assert holds(pack, x, y)
    assert pack.card.classes == CIFAR10
    assert "data_batch_5" in pack.card.provenance.settings["converted"]["files"]
    assert holds(silently(ten, split="test"), x[:10], y[:10])
    fine = silently(hundred, split="train", absent=True)
    assert holds(fine, x, 7 * y)
    assert fine.card.classes == FINE
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "none: a folder with the files of CIFAR-10 or CIFAR-100 expected", layout="cifar")


def test_the_command_line_takes_pairs(tmp_path):
    folder = files(tmp_path / "pair", x=X, labels=Y)
    first, second = tmp_path / "first.dpk", tmp_path / "second.dpk"
    said = run("convert", folder / "x.npy", "--labels", folder / "labels.npy", "-o", first)
    assert "layout npy; 12 images 3×8×8, raw space, hard labels" in said
    run("convert", folder, "-o", second)
    assert load(first).digest == load(second).digest == load(folder).digest


@full
@pytest.mark.data
def test_real_images_are_the_same_from_every_layout(tmp_path):
    whole = load("fashion-mnist", DATA, "test")
    real = whole.take(torch.arange(0, len(whole), 20))
    x, y = real.images.numpy(), real.labels.numpy()
    folder = files(tmp_path / "npy", x_train=x, y_train=y, x_test=x[::-1], y_test=y[::-1])
    np.savez(tmp_path / "pair.npz", images=x, labels=y)
    for source in (folder, tmp_path / "pair.npz"):
        convert(source, split=None if source.suffix else "train").save(tmp_path / "x.dpk")
        for found in (load(source), load(tmp_path / "x.dpk")):
            assert (found.digest, found.labels_digest) == (real.digest, real.labels_digest)

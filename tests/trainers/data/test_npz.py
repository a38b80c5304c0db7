""".npz files: good ones, bad ones, the real CIFAR-10."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import load
from tests.support.real_data import DATA, arrays, full


def test_npz(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8), np.arange(6) % 3
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x, y_train=y[:, None], x_test=x.transpose(0, 2, 3, 1)[:3], y_test=y[:3])
    train = load(path)
    with pytest.warns(Notice, match="read as NHWC"):
        test = load(path, split="test")
    assert np.array_equal(train.images.numpy(), x)
    assert np.array_equal(test.images.numpy(), x[:3])  # channels-last becomes channels-first
    assert train.classes == ("0", "1", "2")


def written(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """One ``.npz`` file, or a folder of ``.npy`` files."""
    if path.suffix:
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for name, values in arrays.items():
            np.save(path / f"{name}.npy", values)
    return path


@pytest.mark.parametrize("form", ["mine.npz", "mine"])
@pytest.mark.parametrize(
    ("names", "tests"),
    [
        (("images", "labels"), None),
        (("x", "y"), None),
        (("data", "targets"), None),
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("train_images", "train_labels"), ("val_images", "val_labels")),
        (("images", "labels"), ("images_test", "labels_test")),
    ],
)
def test_usual_names(tmp_path, form, names, tests):
    x, y = arrays()
    held = {names[0]: x, names[1]: y, "classes": np.array(list("abcdefghij"))}
    path = written(tmp_path / form, held | ({tests[0]: x[:5], tests[1]: y[:5]} if tests else {}))
    train = load(path)
    assert np.array_equal(train.images.numpy()[:, 0], x)
    assert (train.labels.tolist(), train.name, train.classes) == (y.tolist(), "mine", tuple("abcdefghij"))
    if tests:
        assert np.array_equal(load(path, split="test").images.numpy()[:, 0], x[:5])
        return
    with pytest.raises(
        FormatError, match=rf"{form}: the test split needs arrays such as x_test .*; it holds classes, {names[0]}"
    ):
        load(path, split="test")


def test_an_npy_file_stands_for_those_that_go_with_it(tmp_path):
    x, y = arrays()
    named = {"x": x, "y": y, "images": x[::-1], "labels": y[::-1], "x_test": x[:5], "y_test": y[:5]}
    folder = written(tmp_path / "mine", named)
    found, other = load(folder / "x.npy"), load(folder / "images.npy")
    assert np.array_equal(found.images.numpy()[:, 0], x)
    assert (found.labels.tolist(), found.name) == (y.tolist(), "x")
    assert np.array_equal(other.images.numpy()[:, 0], x[::-1])
    assert len(load(folder / "x.npy", split="test")) == 5
    with pytest.raises(FormatError, match="mine: the test split needs arrays"):
        load(folder / "images.npy", split="test")
    np.save(folder / "pixels.npy", x)
    with pytest.raises(FormatError, match="'pixels' is no usual name of images; images, .* expected"):
        load(folder / "pixels.npy")
    (folder / "y.npy").unlink()
    (folder / "labels.npy").unlink()
    with pytest.raises(FormatError, match=r"mine: no labels y for x; it holds images, pixels, x"):
        load(folder / "x.npy")


def test_bad_npy(tmp_path):
    x, y = arrays()
    folder = written(tmp_path / "mine", {"x": x, "y": np.array([{}] * 20)})
    with pytest.raises(FormatError, match=r"y.npy: an object array, .*: save plain numbers, such as np.save"):
        load(folder)
    np.save(folder / "y.npy", y)
    whole = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(whole[:-1])
    with pytest.raises(FormatError, match=r"x.npy: it declares 15,680 bytes and holds 15,679: damaged or cut off"):
        load(folder)
    (folder / "x.npy").write_bytes(whole.replace(b"(20, 28, 28)", b"(2000000, 1)"))
    with pytest.raises(FormatError, match=r"x.npy: it declares 2,000,000 bytes and holds 15,680"):
        load(folder)


def test_other_arrays_do_not_matter(tmp_path):
    x, y = arrays()
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, notes=np.array([{}, 1]))
    assert len(load(tmp_path / "mine.npz")) == 20


def test_both_splits_have_the_classes_of_all_labels(tmp_path):
    path = tmp_path / "mine.npz"
    x = np.zeros((4, 8, 8), np.uint8)
    np.savez(path, train_images=x, train_labels=np.arange(4)[:, None], val_images=x[:2], val_labels=np.array([2, 0]))
    assert load(path).classes == load(path, split="test").classes == tuple("0123")
    np.savez(path, images=x, labels=np.eye(4)[[3, 2, 0, 1]])
    assert load(path).labels.tolist() == [3, 2, 0, 1]
    with pytest.raises(FormatError, match="the test split needs arrays"):
        load(path, split="test")


def test_names_as_labels(tmp_path):
    x = np.zeros((3, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=x, y_train=["dog", "cat", "dog"], x_test=x[:1], y_test=["emu"])
    assert load(tmp_path / "x.npz").labels.tolist() == [1, 0, 1]
    assert load(tmp_path / "x.npz", split="test").labels.tolist() == [2]
    assert load(tmp_path / "x.npz", split="test").classes == ("cat", "dog", "emu")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(1, 5), r"labels 1..4 and none is 0; .*'classes' in an .npz\), or number them from 0"),
        (np.array([0, 1, 2, 4]), "none is 3"),
        (np.full((4, 2), 0.5), r"labels are soft, float64 \[4, 2\]"),
        (np.array([0, 1, 2, 2.5]), "with 2.5, no class number"),
    ],
)
def test_labels_that_need_a_word(tmp_path, labels, words):
    path, x = tmp_path / "x.npz", np.zeros((4, 8, 8), np.uint8)
    np.savez(path, x_train=x, y_train=labels)
    with pytest.raises(FormatError, match=words):
        load(path)
    if labels.ndim == 1 and labels.dtype.kind == "i":
        np.savez(path, x_train=x, y_train=labels, classes=list("abcde"))
        assert load(path).labels.tolist() == labels.tolist()


def test_bad_npz(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, x_train=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(FormatError, match="no labels y_train for x_train; it holds x_train$"):
        load(path)
    np.savez(path, x_train=np.array([{}, {}]), y_train=np.zeros(2, int))
    with pytest.raises(FormatError, match=r"array 'x_train': an object array, a pickle .* save plain numbers"):
        load(path)
    np.savez(path, x_train=np.zeros((2, 4, 4), np.int64), y_train=np.zeros(2, int))
    with pytest.raises(FormatError, match="images are int64"):
        load(path)
    np.savez(path, x_train=np.full((2, 4, 4), 3.0), y_train=np.zeros(2, int))
    with pytest.raises(FormatError, match=r"expected \[0, 1\]"):
        load(path)
    for no_zip in (b"PK\x03\x04 and no more of a zip file", b"no zip file at all, so numpy takes it for a pickle"):
        path.write_bytes(no_zip)
        with pytest.raises(FormatError, match=r"not a whole zip archive"):
            load(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    with pytest.raises(FormatError, match=r"not a whole zip archive"):
        load(path)
    for single in ("x_train", "y_train", "classes"):
        arrays = {"x_train": np.zeros((2, 4, 4), np.uint8), "y_train": np.zeros(2, int), "classes": np.array(["a"])}
        np.savez(path, **{**arrays, single: np.array(3)})
        with pytest.raises(FormatError, match=f"{single} is a single value; an array expected"):
            load(path)


def test_a_damaged_npz(tmp_path):
    path = tmp_path / "bad.npz"
    noise = np.random.default_rng(0).integers(0, 4, (200, 8, 8)).astype(np.uint8)
    np.savez_compressed(path, x_train=noise, y_train=np.zeros(200, int))
    whole = bytearray(path.read_bytes())
    for place in range(200, 2000, 100):
        damaged = whole.copy()
        damaged[place : place + 20] = bytes(20)
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="damaged|not a whole zip archive"):
            load(path)


@full
@pytest.mark.data
def test_full_cifar10():
    test = load("cifar10", DATA, "test")
    assert test.images.shape == (10_000, 3, 32, 32)
    assert [test.classes[c] for c in test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    assert torch.bincount(test.labels).tolist() == [1000] * 10


def save_both(path, x):
    y = np.arange(len(x)) % 2
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)


def test_the_order_of_axes_is_seen_said_or_asked_for(tmp_path):
    path, x = tmp_path / "mine.npz", np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
    save_both(path, x)
    with pytest.warns(Notice, match=r"\[6, 8, 9, 3\] are read as NHWC"):
        assert np.array_equal(load(path).images.numpy(), x.transpose(0, 3, 1, 2))
    save_both(path, x[:, :3])
    with pytest.raises(FormatError, match=r"mine: images of shape \[6, 3, 9, 3\] can be NCHW .* \(--axes\)"):
        load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(path, axes="NCHW").shape == (3, 9, 3)
        assert load(path, axes="NHWC", split="test").shape == (3, 3, 9)
    (tmp_path / "cat").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "cat" / "a.png")
    for where in (tmp_path, "fashion-sample"):
        with pytest.raises(FormatError, match="axes does not apply to this form of data; leave it out"):
            load(where, axes="NCHW")


def test_a_set_known_by_name_has_a_known_order(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("cifar10", "svhn"):
            for given in (x, x.transpose(0, 3, 1, 2)):
                save_both(tmp_path / f"{name}.npz", given)
                assert np.array_equal(load(name, tmp_path).images.numpy(), x.transpose(0, 3, 1, 2))


def test_alpha_is_dropped_when_said(tmp_path):
    path, x = tmp_path / "mine.npz", np.random.default_rng(0).integers(0, 256, (6, 8, 9, 4), dtype=np.uint8)
    save_both(path, x)
    with pytest.warns(Notice, match="all 4 channels are kept"):
        assert load(path).shape == (4, 8, 9)
    with pytest.warns(Notice, match="read as NHWC"):
        data = load(path, drop_alpha=True)
    assert np.array_equal(data.images.numpy(), x[..., :3].transpose(0, 3, 1, 2))
    save_both(path, x[..., 0])
    assert load(path, drop_alpha=True).shape == (1, 8, 9)

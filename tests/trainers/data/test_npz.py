""".npz files: good ones, bad ones, the real CIFAR-10."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import load
from tests.support.real_data import DATA, full


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


def test_bad_npz(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, x_train=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(FormatError, match="no array 'y_train'; it holds x_train"):
        load(path)
    np.savez(path, x_train=np.array([{}, {}]), y_train=np.zeros(2, int))
    with pytest.raises(FormatError, match="not plain numbers"):
        load(path)
    np.savez(path, x_train=np.zeros((2, 4, 4), np.int64), y_train=np.zeros(2, int))
    with pytest.raises(FormatError, match="images are int64"):
        load(path)
    np.savez(path, x_train=np.full((2, 4, 4), 3.0), y_train=np.zeros(2, int))
    with pytest.raises(FormatError, match=r"expected \[0, 1\]"):
        load(path)
    for no_zip in (b"PK\x03\x04 and no more of a zip file", b"no zip file at all, so numpy takes it for a pickle"):
        path.write_bytes(no_zip)
        with pytest.raises(FormatError, match=r"not a .npz file"):
            load(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    with pytest.raises(FormatError, match=r"not a .npz file"):
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
        with pytest.raises(FormatError, match=r"not a readable .npz file"):
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

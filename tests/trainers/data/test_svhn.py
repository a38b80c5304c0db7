"""SVHN: the published files and damaged ones."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import load
from tests.support.data_files import images


def write_svhn(folder: Path, **changes) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    x = images(11)
    labels = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10], np.uint8)[:, None]
    for file in ("train_32x32.mat", "test_32x32.mat"):
        scipy.io.savemat(folder / file, {"X": x.transpose(2, 3, 1, 0), "y": labels} | changes, do_compression=True)
    return x


@pytest.mark.parametrize("place", ["", "svhn", "SVHN"])
def test_svhn(tmp_path, place):
    x = write_svhn(tmp_path / place)
    for found in (
        load("svhn", tmp_path),
        load("svhn", tmp_path, "test"),
        load(tmp_path / place),
        load(tmp_path / place / "train_32x32.mat", split="test"),
    ):
        assert np.array_equal(found.images.numpy(), x)
        assert found.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0]
        assert (found.classes, found.name) == (tuple("0123456789"), "svhn")


def test_svhn_from_npz(tmp_path):
    x = images(11)
    np.savez(
        tmp_path / "svhn.npz", x_train=x[:3], y_train=np.array([[10], [1], [9]]), x_test=x, y_test=np.zeros(11, int)
    )
    assert load("svhn", tmp_path).labels.tolist() == [0, 1, 9]
    assert np.array_equal(load("svhn", tmp_path, "test").images.numpy(), x)


def test_damaged_svhn(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match=r"svhn needs its files: .*train_32x32.mat"):
        load("svhn")
    with pytest.raises(FormatError, match=r"neither .*svhn.npz nor test_32x32.mat in .*, or its folders svhn, SVHN"):
        load("svhn", tmp_path, "test")
    path = tmp_path / "train_32x32.mat"
    for changes, message in (
        ({"y": np.full((11, 1), 11)}, "labels are not all whole numbers from 0 to 10"),
        ({"y": np.full((11, 1), 0.5)}, "labels are not all whole numbers from 0 to 10"),
        ({"y": np.ones((10, 1), np.uint8)}, "11 images and 10 labels"),
        ({"X": np.zeros((32, 32, 3, 11))}, r"X is float64 \[32, 32, 3, 11\]; expected uint8"),
        ({"X": np.zeros((11, 3, 32, 32), np.uint8)}, "expected uint8"),
    ):
        write_svhn(tmp_path, **changes)
        with pytest.raises(FormatError, match=message):
            load("svhn", tmp_path)
    scipy.io.savemat(path, {"X": np.zeros((32, 32, 3, 1), np.uint8)})
    with pytest.raises(FormatError, match="no array 'y'"):
        load("svhn", tmp_path)
    write_svhn(tmp_path)
    good = path.read_bytes()
    later = good[:124] + b"\x00\x02" + good[126:]  # the version in the header is that of MATLAB 7.3
    for bad in (b"", b"no matrix", good[:100]):
        path.write_bytes(bad)
        with pytest.raises(FormatError, match=r"train_32x32.mat: not a MATLAB 5 file"):
            load("svhn", tmp_path)
    for bad in (good[:200], good[:-20], good[:1000] + bytes(50) + good[1050:], good + b"x"):
        path.write_bytes(bad)
        with pytest.raises(FormatError, match=r"train_32x32.mat: damaged or cut off"):
            load("svhn", tmp_path)
    path.write_bytes(later)
    with pytest.raises(FormatError, match=r"a MATLAB 7.3 file"):
        load("svhn", tmp_path)
    path.unlink()
    with pytest.raises(FormatError, match=r"SVHN's train split is called train_32x32.mat"):
        load(tmp_path)

"""IDX files: by name, by path, damaged, and the real ones."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import load
from dsetpack.trainers.data.idx import FASHION, read_idx
from tests.support.real_data import DATA, arrays, full


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_fashion(folder: Path, zipped: bool = True) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    x, y = arrays()
    for prefix in ("train", "t10k"):
        for name, values in ((f"{prefix}-images-idx3-ubyte", x), (f"{prefix}-labels-idx1-ubyte", y)):
            data = idx(values)
            (folder / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
    return x, y


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("inside", "root"),
    [
        ("", ""),
        ("fashion-mnist", ""),
        ("FashionMNIST/raw", ""),
        ("FashionMNIST/raw", "FashionMNIST"),
        ("FashionMNIST/raw", "FashionMNIST/raw"),
        ("fashion-mnist/FashionMNIST/raw", ""),
        ("fashion-mnist/raw", ""),
        ("dataset-fashion-mnist", "dataset-fashion-mnist"),
    ],
)
def test_idx_by_name(tmp_path, zipped, inside, root):
    x, y = write_fashion(tmp_path / inside, zipped)
    data = load("fashion-mnist", tmp_path / root, "train")
    assert np.array_equal(data.images.numpy()[:, 0], x)
    assert data.labels.tolist() == y.tolist()
    assert data.classes == FASHION
    assert data.shape == (1, 28, 28)
    assert data.name == "fashion-mnist"


def test_idx_by_path_and_default_root(tmp_path, monkeypatch):
    write_fashion(tmp_path / "mnist")
    assert load(tmp_path / "mnist", split="test").classes == tuple("0123456789")
    monkeypatch.setenv("DSETPACK_DATA", str(tmp_path))
    assert len(load("mnist", split="test")) == 20


def damaged(good: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "magic": (b"\x00\x00\x0d\x03" + good[4:], "begins with 00 00 0d 03"),
        "axes": (idx(np.zeros((2, 3), np.uint8)), "begins with 00 00 08 02; an IDX file of 3 axes"),
        "header": (good[:9], "ends inside its header: 9 bytes, 16 expected"),
        "values": (good[:-1], "only 15679"),
        "half": (good[:8000], r"\[20, 28, 28\] = 15680 bytes; the file holds at most 8000"),
        "huge": (good[:4] + b"\xff" * 12 + good[16:], r"at most 15696$"),
        "huge gzip": (gzip.compress(good[:4] + b"\xff" * 12 + bytes(9)), "the file holds at most"),
        "extra": (good + b"x", "more follow"),
        "gzip": (gzip.compress(good)[:-30], "gzip stream is damaged"),
        "crc": (gzip.compress(good)[:-8] + bytes(8), "gzip stream is damaged"),
        "empty": (b"", "begins with"),
    }


@pytest.mark.parametrize("case", sorted(damaged(b"")))
def test_damaged_idx(tmp_path, case):
    content, message = damaged(idx(arrays()[0]))[case]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_idx_count_mismatch_and_missing(tmp_path):
    write_fashion(tmp_path, zipped=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    with pytest.raises(FormatError, match=r"20 images, .*19 labels"):
        load("fashion-mnist", tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FormatError, match="no t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte") as caught:
        load("fashion-mnist", tmp_path, "test")
    assert f"in {tmp_path}, or its folders raw, fashion-mnist, " in str(caught.value)
    assert "FashionMNIST/raw" in str(caught.value)


@pytest.mark.parametrize("inside", ["FashionMNIST/raw", "FashionMNIST", "fashion-mnist", "KMNIST/raw"])
def test_files_of_another_data_set_are_not_taken_for_it(tmp_path, inside):
    """All of them have the same file names."""
    folder = tmp_path / inside
    write_fashion(folder)
    for root in {folder, folder.parent if inside.endswith("raw") else folder}:
        with pytest.raises(FormatError, match=r"not mnist, by its name; give the folder that holds mnist as --root"):
            load("mnist", root)
    write_fashion(folder / "MNIST" / "raw")
    assert len(load("mnist", folder)) == 20


@full
@pytest.mark.data
@pytest.mark.parametrize(("name", "called"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
@pytest.mark.parametrize("zipped", [True, False])
def test_full_idx_in_the_layout_of_torchvision(tmp_path, name, called, zipped):
    raw = tmp_path / called / "raw"
    raw.mkdir(parents=True)
    for file in (Path(DATA) / name).glob("t10k-*.gz"):
        if zipped:
            (raw / file.name).write_bytes(file.read_bytes())
        else:
            (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    real = load(name, DATA, "test")
    for root in (tmp_path, tmp_path / called, raw):
        found = load(name, root, "test")
        assert (found.digest, found.labels_digest, found.classes) == (real.digest, real.labels_digest, real.classes)


@full
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("fashion-mnist", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
        ("mnist", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
    ],
)
def test_full_idx(name, first):
    train, test = load(name, DATA), load(name, DATA, "test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:10].tolist() == first
    counts = torch.bincount(test.labels).tolist()
    assert sum(counts) == 10_000
    assert name != "fashion-mnist" or counts == [1000] * 10

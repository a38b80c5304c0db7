"""Readers of real data: what they read, and what they say of files that are not what they should be."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dsetpack
from dsetpack.decoders import decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.pack.arrays import as_images
from dsetpack.trainers.data import ImageData, data_names, from_torch, load
from dsetpack.trainers.data.idx import FASHION, read_idx

DATA = os.environ.get("DSETPACK_DATA")
full = pytest.mark.skipif(not DATA, reason="DSETPACK_DATA is not set: no full data sets to read")


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def arrays(n: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10


def write_fashion(folder: Path, zipped: bool = True) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    x, y = arrays()
    for prefix in ("train", "t10k"):
        for name, values in ((f"{prefix}-images-idx3-ubyte", x), (f"{prefix}-labels-idx1-ubyte", y)):
            data = idx(values)
            (folder / (name + ".gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
    return x, y


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_idx_by_name(tmp_path, zipped, inside):
    x, y = write_fashion(tmp_path / inside, zipped)
    data = load("fashion-mnist", tmp_path, "train")
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
    assert str(tmp_path / "FashionMNIST" / "raw") in str(caught.value)


def test_unknown_names_roots_and_splits(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match="did you mean 'fashion-mnist'"):
        load("fashion-mnits")
    with pytest.raises(FormatError, match="give the folder"):
        load("fashion-mnist")
    with pytest.raises(FormatError, match="no such folder"):
        load("fashion-mnist", tmp_path / "nowhere")
    with pytest.raises(FormatError, match="'train' or 'test'"):
        load("mnist", tmp_path, "valid")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FormatError, match="not a form of data known here"):
        load(tmp_path / "notes.txt")
    assert {"mnist", "fashion-mnist", "cifar10", "fashion-sample"} <= set(data_names())


def test_npz(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8), np.arange(6) % 3
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x, y_train=y[:, None], x_test=x.transpose(0, 2, 3, 1)[:3], y_test=y[:3])
    train, test = load(path), load(path, split="test")
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


def write_images(root: Path, mode: str, size: tuple[int, int] = (6, 5)) -> dict[str, np.ndarray]:
    made = {}
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
        made[name] = np.full(shape, 40 * number + 7, np.uint8)
        Image.fromarray(made[name]).save(root / name / "a.png")
    return made


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.array([[0, 400], [8000, 62640]], np.uint16)).save(tmp_path / "cat" / "a.png")
    with pytest.raises(FormatError, match=r"a.png: pixels of mode I;16 found; 8 bits a channel expected"):
        load(tmp_path)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_folder(tmp_path, mode, channels):
    write_images(tmp_path / "train", mode)
    write_images(tmp_path / "test", mode)
    for split in ("train", "test"):
        data = load(tmp_path, split=split)
        assert data.shape == (channels, 5, 6)
        assert data.classes == ("cat", "dog")
        assert data.images[:, 0, 0, 0].tolist() == [7, 47]


def test_bad_folders(tmp_path):
    write_images(tmp_path, "L")
    with pytest.raises(FormatError, match="needs the folders 'train' and 'test'"):
        load(tmp_path, split="test")
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "dog" / "b.png")
    with pytest.raises(FormatError, match=r"b.png is 3×4 and .*a.png is 5×6"):
        load(tmp_path)
    (tmp_path / "dog" / "b.png").write_bytes(b"no image")
    with pytest.raises(FormatError, match=r"b.png: not an image file"):
        load(tmp_path)
    (tmp_path / "other" / "empty").mkdir(parents=True)
    with pytest.raises(FormatError, match="no image files in its 1 sub-folders"):
        load(tmp_path / "other")


def test_packs_are_data(tmp_path):
    x, y = arrays()
    config = ImagesConfig()
    bank = decoder("images", config, (1, 28, 28), 10)
    images, labels = as_images(torch.from_numpy(x)), torch.from_numpy(y).long()
    parts = [
        dsetpack.Part("images", config, bank, images, labels, name="train"),
        dsetpack.Part("images", config, bank, images[:10], labels[:10], name="test"),
    ]
    classes = tuple("abcdefghij")
    pack = dsetpack.Pack(dsetpack.Card(title="x", classes=classes, shape=(1, 28, 28)), parts)
    pack.save(tmp_path / "x.dpk")
    train, test = load(tmp_path / "x.dpk"), load(tmp_path / "x.dpk", split="test")
    assert np.array_equal(train.images.numpy()[:, 0], x)
    assert len(test) == 10
    assert train.classes == classes
    assert train.digest == ImageData(torch.from_numpy(x)[:, None], labels, classes, "same").digest
    dsetpack.Pack.from_arrays(x, y).save(tmp_path / "one.dpk")
    with pytest.raises(FormatError, match="no part 'test'"):
        load(tmp_path / "one.dpk", split="test")


class Items:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_torch_datasets():
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    as_pil = Items([(Image.fromarray(image.permute(1, 2, 0).numpy()), n) for n, image in enumerate(x)])
    assert torch.equal(from_torch(as_pil).images, x)
    floats = from_torch(Items([(image / 255, torch.tensor(n)) for n, image in enumerate(x)]), classes=("a", "b"))
    assert floats.images.dtype == torch.float32
    assert floats.classes == ("a", "b")
    with pytest.raises(FormatError, match="is empty"):
        from_torch(Items([]))
    with pytest.raises(FormatError, match=r"\[1\] is torch.uint8 \[3, 4, 3\]; the first image is"):
        from_torch(Items([(x[0], 0), (x[1][:, :, :3], 1)]))
    with pytest.raises(FormatError, match=r"expected \[0, 1\]"):
        from_torch(Items([(x[0].float(), 0)]))


def test_image_data_checks_itself():
    x, y = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1])
    data = ImageData(x, y, ("a", "b", "c"), "tiny")
    assert data.of_class(1).tolist() == [1, 2, 3]
    with pytest.raises(FormatError, match=r"no image of class 2 .'c'."):
        data.of_class(2)
    with pytest.raises(FormatError, match="labels from 0 to 1; there are 1 classes"):
        ImageData(x, y, ("a",), "tiny")
    with pytest.raises(FormatError, match="expected int64"):
        ImageData(x, y[:3], ("a", "b"), "tiny")
    with pytest.raises(FormatError, match="not empty"):
        ImageData(x[:0], y[:0], ("a", "b"), "tiny")
    with pytest.raises(FormatError, match="has 1 images of class 'a'; 2 asked for"):
        ImageData(x, y, ("a", "b"), "tiny").draw(2, 0)


def test_draw_is_random_balanced_and_repeatable():
    y = torch.arange(50) % 5
    data = ImageData(torch.zeros(50, 1, 2, 2, dtype=torch.uint8), y, tuple("abcde"), "tiny")
    first = data.draw(4, 0)
    assert torch.equal(first, data.draw(4, 0))
    assert not torch.equal(first, data.draw(4, 1))
    assert len(set(first.tolist())) == 20
    assert data.labels[first].tolist() == [c for c in range(5) for _ in range(4)]


def test_digest_pins_values_and_shape():
    x = torch.arange(16, dtype=torch.uint8).view(4, 1, 2, 2)
    y = torch.zeros(4, dtype=torch.int64)
    digest = ImageData(x, y, ("a",), "x").digest
    values = (x.numpy() / np.float32(255)).astype("<f4")
    assert digest == "sha256:" + hashlib.sha256(struct.pack("<4Q", 4, 1, 2, 2) + values.tobytes()).hexdigest()
    assert digest != ImageData(x.view(4, 1, 1, 4), y, ("a",), "x").digest


def test_the_shipped_sample():
    train, test = load("fashion-sample"), load("fashion-sample", split="test")
    assert torch.bincount(train.labels).tolist() == [200] * 10
    assert torch.bincount(test.labels).tolist() == [100] * 10
    assert train.classes == FASHION
    assert train.images.dtype == torch.uint8


@full
@pytest.mark.data
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_shipped_sample_is_part_of_the_real_data(split):
    sample, real = load("fashion-sample", split=split), load("fashion-mnist", DATA, split)
    per_class = len(sample) // 10
    first = torch.cat([real.of_class(label)[:per_class] for label in range(10)])
    assert sample.digest == real.take(first).digest
    assert torch.equal(sample.labels, real.labels[first])


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


@full
@pytest.mark.data
def test_full_cifar10():
    test = load("cifar10", DATA, "test")
    assert test.images.shape == (10_000, 3, 32, 32)
    assert [test.classes[c] for c in test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    assert torch.bincount(test.labels).tolist() == [1000] * 10

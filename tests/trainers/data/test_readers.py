"""Readers of CIFAR-10, CIFAR-100, SVHN and Tiny ImageNet: files in exactly the published layouts, and damaged ones."""

import contextlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import data_names, load
from dsetpack.trainers.data.matlab import read_matlab
from dsetpack.trainers.data.npz import CIFAR10

FINE = tuple(f"fine_{n}" for n in range(100))
PLACES = ["", "{name}", "{folder}", "{name}/{folder}"]
PIXELS = 3 * 32 * 32


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def write_cifar10(folder: Path, per_batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The training images and labels; the test batch holds the first of them."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = images(5 * per_batch), np.arange(5 * per_batch) % 10
    for batch in range(5):
        part = range(batch * per_batch, (batch + 1) * per_batch)
        (folder / f"data_batch_{batch + 1}.bin").write_bytes(b"".join(bytes([y[i]]) + x[i].tobytes() for i in part))
    (folder / "test_batch.bin").write_bytes(bytes([y[0]]) + x[0].tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    return x, y


def write_cifar100(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    x, fine = images(4), np.array([0, 99, 42, 7])
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(b"".join(bytes([19, fine[i]]) + x[i].tobytes() for i in range(4)))
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(f"coarse_{n}" for n in range(20)) + "\n")
    return x, fine


def test_names_are_known():
    assert {"cifar10", "cifar100", "svhn", "tiny-imagenet"} <= set(data_names())


@pytest.mark.parametrize("place", PLACES)
def test_cifar10(tmp_path, place):
    folder = tmp_path / place.format(name="cifar10", folder="cifar-10-batches-bin")
    x, y = write_cifar10(folder)
    for found in (load("cifar10", tmp_path), load(folder)):
        assert np.array_equal(found.images.numpy(), x)
        assert found.labels.tolist() == y.tolist()
        assert (found.classes, found.name) == (CIFAR10, "cifar10")
    test = load("cifar10", tmp_path, "test")
    assert np.array_equal(test.images.numpy(), x[:1])


@pytest.mark.parametrize("place", PLACES)
def test_cifar100_has_fine_labels(tmp_path, place):
    folder = tmp_path / place.format(name="cifar100", folder="cifar-100-binary")
    x, fine = write_cifar100(folder)
    for found in (load("cifar100", tmp_path, "test"), load(folder)):
        assert np.array_equal(found.images.numpy(), x)
        assert found.labels.tolist() == fine.tolist()
        assert (found.classes, found.name) == (FINE, "cifar100")


def test_cifar10_from_mosaics_and_npz(tmp_path):
    x, y = images(2500), np.arange(2500) % 10
    tiles = x.reshape(50, 50, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(1600, 1600, 3)
    folder = tmp_path / "cifar10"
    folder.mkdir()
    Image.fromarray(tiles).save(folder / "test_00.webp", lossless=True, method=0)
    np.save(folder / "test_labels.npy", y.astype(np.uint8))
    for found in (load("cifar10", tmp_path, "test"), load(folder, split="test")):
        assert np.array_equal(found.images.numpy(), x)
        assert (found.labels.tolist(), found.classes) == (y.tolist(), CIFAR10)
    with pytest.raises(FormatError, match=r"cifar10: no train_labels.npy for the mosaics train_"):
        load("cifar10", tmp_path)
    np.savez(tmp_path / "cifar10.npz", x_train=x[:5], y_train=y[:5], x_test=x[5:7], y_test=y[5:7])
    assert np.array_equal(load("cifar10", tmp_path).images.numpy(), x[:5])  # before what else there is
    assert load("cifar10", tmp_path, "test").classes == CIFAR10


class Bomb:
    """What unpickles as a call."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


@pytest.mark.parametrize(
    ("name", "folder", "files"),
    [
        ("cifar10", "cifar-10-batches-py", [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]),
        ("cifar100", "cifar-100-python", ["train", "test", "meta"]),
    ],
)
@pytest.mark.parametrize("inside", ["", "{name}"])
def test_pickles_are_refused_unread(tmp_path, name, folder, files, inside):
    place = tmp_path / inside.format(name=name) / folder
    place.mkdir(parents=True)
    for file in files:
        (place / file).write_bytes(pickle.dumps(Bomb()))
    for ask in (lambda: load(name, tmp_path), lambda: load(place)):
        with pytest.raises(FormatError, match=r"is a pickle.* Take the binary version .*from_torch.*npz"):
            ask()
    write = {"cifar10": write_cifar10, "cifar100": write_cifar100}[name]
    write(tmp_path / {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}[name])
    assert load(name, tmp_path).name == name  # beside the binary version they do not matter


def test_damaged_cifar(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match=r"cifar100 needs its files: .*cifar-100-binary/"):
        load("cifar100")
    with pytest.raises(FormatError, match=r"neither .*cifar10.npz nor data_batch_1.bin in .*cifar-10-batches-bin"):
        load("cifar10", tmp_path)
    write_cifar10(tmp_path)
    third = tmp_path / "data_batch_3.bin"
    third.write_bytes(third.read_bytes()[:-1])
    size = 3 * (PIXELS + 1) - 1
    with pytest.raises(
        FormatError, match=rf"data_batch_3.bin: {size} bytes; expected one or more whole records of 3073"
    ):
        load("cifar10", tmp_path)
    third.write_bytes(b"")
    with pytest.raises(FormatError, match=r"data_batch_3.bin: 0 bytes"):
        load("cifar10", tmp_path)
    third.write_bytes(bytes([10]) + bytes(PIXELS))
    with pytest.raises(FormatError, match="labels from 0 to 10; there are 10 classes"):
        load("cifar10", tmp_path)
    third.unlink()
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(FormatError, match=r"batches.meta.txt: 2 class names; expected 10"):
        load("cifar10", tmp_path, "test")
    (tmp_path / "batches.meta.txt").unlink()
    with pytest.raises(
        FormatError, match=r"no data_batch_3.bin and no batches.meta.txt; the binary version of cifar10"
    ):
        load("cifar10", tmp_path)


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


MATRICES = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "b": np.array([[7]], np.uint8),  # small enough for a shared word
    "shorts": np.array([[-3, 2, 400]], np.int16),
    "doubles": np.linspace(-1, 1, 7)[:, None],
    "wholes": np.arange(5.0)[None],  # MATLAB stores such doubles as bytes
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files(tmp_path, compressed):
    path = tmp_path / "x.mat"
    others = {"text": "hello", "cells": np.array([1, "a"], object), "struct": {"a": 1}, "complex": np.array([[1j]])}
    scipy.io.savemat(path, MATRICES | others, do_compression=compressed)
    found = read_matlab(path)
    assert set(found) == set(MATRICES)
    for name, array in MATRICES.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_matlab_narrow_values_and_big_endian(tmp_path):
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 2, 2))
    parts += struct.pack(">HH", 1, 1) + b"y\0\0\0" + struct.pack(">HH", 4, 2) + bytes([1, 2, 3, 4])
    path = tmp_path / "x.mat"
    path.write_bytes(bytes(124) + b"\x01\x00MI" + element(14, parts))
    found = read_matlab(path)["y"]
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 3], [2, 4]]
    path.write_bytes(
        bytes(124) + b"\x01\x00MI" + element(14, parts.replace(struct.pack(">ii", 2, 2), struct.pack(">ii", -2, -2)))
    )
    with pytest.raises(FormatError, match=r"an array of \[-2, -2\] with 4 values"):
        read_matlab(path)


def test_damaged_matlab_files_are_errors_or_arrays(tmp_path):
    path, rng = tmp_path / "x.mat", np.random.default_rng(0)
    for compressed in (False, True):
        scipy.io.savemat(path, MATRICES, do_compression=compressed)
        good = path.read_bytes()
        for _ in range(300):
            bad = bytearray(good)
            for place in rng.integers(0, len(bad), 3):
                bad[place] = rng.integers(0, 256)
            path.write_bytes(bad[: rng.integers(1, len(bad) + 200)])
            with contextlib.suppress(FormatError):  # whatever else it raises fails the test
                read_matlab(path)


def test_damaged_svhn(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match=r"svhn needs its files: .*train_32x32.mat"):
        load("svhn")
    with pytest.raises(FormatError, match=r"neither .*svhn.npz nor test_32x32.mat in .*SVHN"):
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
    later = good[:124] + b"\x00\x02" + good[126:]  # the header's version: that of MATLAB 7.3
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


def jpeg(value: int, mode: str = "RGB", side: int = 64) -> bytes:
    held = io.BytesIO()
    Image.new(mode, (side, side), value if mode == "L" else (value, 0, 255)).save(held, "JPEG", quality=95)
    return held.getvalue()


def write_tiny(folder: Path) -> None:
    """Two classes whose order in ``wnids.txt`` is not the sorted one, two training images of each, three of val."""
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("n02\nn01\n")
    (folder / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tEgyptian cat\n")
    for number, wnid in enumerate(("n02", "n01")):
        place = folder / "train" / wnid / "images"
        place.mkdir(parents=True)
        (place / f"{wnid}_0.JPEG").write_bytes(jpeg(100 * number + 10))
        (place / f"{wnid}_1.JPEG").write_bytes(jpeg(100 * number + 50, "L"))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t62\t63\t63\n")
    for number in range(3):
        (folder / "val" / "images" / f"val_{number}.JPEG").write_bytes(jpeg(60 * number))
    lines = ("val_0.JPEG\tn01\t0\t32\t44\t62", "val_2.JPEG\tn02\t52\t55\t57\t59", "val_1.JPEG\tn01\t4\t0\t60\t55")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "test" / "images" / "test_0.JPEG").write_bytes(jpeg(0))


@pytest.mark.parametrize("place", ["", "tiny-imagenet-200", "tiny-imagenet", "tiny-imagenet/tiny-imagenet-200"])
def test_tiny_imagenet(tmp_path, place):
    write_tiny(tmp_path / place)
    for train in (load("tiny-imagenet", tmp_path), load(tmp_path / place)):
        assert train.shape == (3, 64, 64)
        assert train.classes == ("Egyptian cat", "goldfish, Carassius auratus")
        assert train.labels.tolist() == [0, 0, 1, 1]
        red = train.images[:, 0].float().mean((1, 2))
        assert np.allclose(red, [10, 50, 110, 150], atol=3)  # JPEG is not exact
        assert (train.images[1, 0] == train.images[1, 2]).all()  # grey files become colour
    test = load("tiny-imagenet", tmp_path, "test")
    assert test.labels.tolist() == [1, 0, 1]
    assert np.allclose(test.images[:, 0].float().mean((1, 2)), [0, 120, 60], atol=3)  # the annotations' order


def test_tiny_imagenet_from_npz(tmp_path):
    x = np.zeros((2, 3, 64, 64), np.uint8)
    classes = np.array(["cat", "goldfish"])
    np.savez(tmp_path / "tiny-imagenet.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[1, 1], classes=classes)
    found = load("tiny-imagenet", tmp_path, "test")
    assert (found.name, found.classes, found.labels.tolist()) == ("tiny-imagenet", ("cat", "goldfish"), [1, 1])


def test_damaged_tiny_imagenet(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match=r"tiny-imagenet needs its files: .*tiny-imagenet-200/"):
        load("tiny-imagenet")
    with pytest.raises(FormatError, match=r"neither .*tiny-imagenet.npz nor wnids.txt in .*tiny-imagenet-200"):
        load("tiny-imagenet", tmp_path)
    write_tiny(tmp_path)
    val, first = tmp_path / "val" / "val_annotations.txt", tmp_path / "train" / "n02" / "images" / "n02_0.JPEG"
    for line, message in (
        (
            "val_0.JPEG\tn03\t0\t0\t1\t1",
            r"val_annotations.txt: line 1 gives 'val_0.JPEG' the class 'n03', which is not in",
        ),
        ("val_0.JPEG", r"line 1 gives 'val_0.JPEG' the class ''"),
        ("../images/val_0.JPEG\tn01", r"line 1 names '../images/val_0.JPEG'; expected a file in val/images"),
        ("val_9.JPEG\tn01\t0", r"val_9.JPEG: no such file"),
        ("\n", r"val_annotations.txt: an empty file"),
    ):
        val.write_text(line)
        with pytest.raises(FormatError, match=message):
            load("tiny-imagenet", tmp_path, "test")
    val.unlink()
    with pytest.raises(FormatError, match=r"val_annotations.txt: no such file; tiny-imagenet-200/ has one"):
        load("tiny-imagenet", tmp_path, "test")
    for content, message in (
        (jpeg(0, side=32), r"n02_1.JPEG is 64×64 and .*n02_0.JPEG is 32×32"),
        (jpeg(0)[:300], r"n02_0.JPEG: a damaged image file"),
        (b"text", r"n02_0.JPEG: not an image file"),
    ):
        first.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            load("tiny-imagenet", tmp_path)
    first.write_bytes(jpeg(0))
    (tmp_path / "wnids.txt").write_text("n02\nn01\nn07\n")
    with pytest.raises(FormatError, match=r"n07.images: no image files there, and wnids.txt names the class n07"):
        load("tiny-imagenet", tmp_path)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(FormatError, match=r"words.txt: no such file"):
        load("tiny-imagenet", tmp_path)

"""CIFAR-10 and CIFAR-100: the published files of both versions, damaged ones, and pickles that name code."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import load
from tests.support.cifar_files import CIFAR10, FINE, write_python10, write_python100
from tests.support.data_files import PLACES, images
from tests.support.real_data import DATA, full

PIXELS = 3 * 32 * 32


def write_cifar10(folder: Path, per_batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Write the files and return the training images and labels; the test batch holds the first of them."""
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
    assert np.array_equal(load("cifar10", tmp_path).images.numpy(), x[:5])  # the .npz file is preferred
    assert load("cifar10", tmp_path, "test").classes == CIFAR10


class Bomb:
    """An object whose unpickling is a call."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


@pytest.mark.parametrize("place", [*PLACES, "CIFAR10/{folder}"])
def test_the_python_version_of_cifar10(tmp_path, place):
    folder = tmp_path / place.format(name="cifar10", folder="cifar-10-batches-py")
    x, y = images(15), np.arange(15) % 10
    write_python10(folder, x, y, test=2)
    for found in (load("cifar10", tmp_path), load("cifar10", folder), load(folder)):
        assert np.array_equal(found.images.numpy(), x)
        assert found.labels.tolist() == y.tolist()
        assert (found.classes, found.name) == (CIFAR10, "cifar10")
    assert np.array_equal(load("cifar10", tmp_path, "test").images.numpy(), x[:2])


@pytest.mark.parametrize("place", [*PLACES, "CIFAR100/{folder}"])
def test_the_python_version_of_cifar100(tmp_path, place):
    folder = tmp_path / place.format(name="cifar100", folder="cifar-100-python")
    x, fine = images(4), np.array([0, 99, 42, 7])
    write_python100(folder, x, fine)
    for found in (load("cifar100", tmp_path, "test"), load("cifar100", folder), load(folder)):
        assert np.array_equal(found.images.numpy(), x)
        assert found.labels.tolist() == fine.tolist()
        assert (found.classes, found.name) == (FINE, "cifar100")


@pytest.mark.parametrize(
    ("name", "folder", "files"),
    [
        ("cifar10", "cifar-10-batches-py", [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]),
        ("cifar100", "cifar-100-python", ["train", "test", "meta"]),
    ],
)
@pytest.mark.parametrize("inside", ["", "{name}"])
def test_pickles_of_code_are_refused_and_not_run(tmp_path, name, folder, files, inside):
    place = tmp_path / inside.format(name=name) / folder
    place.mkdir(parents=True)
    for file in files:
        (place / file).write_bytes(pickle.dumps(Bomb()))
    for ask in (lambda: load(name, tmp_path), lambda: load(place)):
        with pytest.raises(FormatError, match=r"meta: refused: a pickle that names code \(.*; the binary version .*"):
            ask()
    write = {"cifar10": write_cifar10, "cifar100": write_cifar100}[name]
    write(tmp_path / {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}[name])
    assert load(name, tmp_path).name == name  # they do not matter if the binary version is there


@full
@pytest.mark.data
def test_the_full_test_set_in_the_layout_of_torchvision(tmp_path):
    real = load("cifar10", DATA, "test")
    write_python10(tmp_path / "cifar-10-batches-py", real.images.numpy(), real.labels.numpy(), test=len(real))
    for split in ("train", "test"):  # here both hold the same images
        found = load("cifar10", tmp_path, split)
        assert (found.digest, found.labels_digest, found.classes) == (real.digest, real.labels_digest, real.classes)


def test_damaged_cifar(tmp_path, monkeypatch):
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    with pytest.raises(FormatError, match=r"cifar100 needs its files: .*cifar-100-binary/"):
        load("cifar100")
    with pytest.raises(
        FormatError,
        match=r"neither .*cifar10.npz nor data_batch_1.bin nor data_batch_1 in .*, or its folders cifar-10-batches-bin",
    ):
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
    with pytest.raises(FormatError, match=r"data_batch_3.bin: label 10 found; there are 10 classes"):
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

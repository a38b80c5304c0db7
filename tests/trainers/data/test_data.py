"""Data as images and labels: what they check, draws, digests."""

import hashlib
import struct

import numpy as np
import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import ImageData, data_names, load


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


def test_image_data_checks_itself():
    x, y = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1])
    data = ImageData(x, y, ("a", "b", "c"), "tiny")
    assert data.of_class(1).tolist() == [1, 2, 3]
    assert repr(data) == "ImageData('tiny', 4 images [1, 2, 2] uint8, 3 classes)"
    with pytest.raises(FormatError, match=r"no image of class 2 .'c'."):
        data.of_class(2)
    with pytest.raises(FormatError, match="labels from 0 to 1; it has 1 class"):
        ImageData(x, y, ("a",), "tiny")
    with pytest.raises(FormatError, match="expected int64"):
        ImageData(x, y[:3], ("a", "b"), "tiny")
    with pytest.raises(FormatError, match="not empty"):
        ImageData(x[:0], y[:0], ("a", "b"), "tiny")
    with pytest.raises(FormatError, match="has 1 image of class 'a'; 2 asked for"):
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


def test_names_are_known():
    assert {"cifar10", "cifar100", "svhn", "tiny-imagenet"} <= set(data_names())

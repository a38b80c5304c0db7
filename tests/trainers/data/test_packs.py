"""Packs as data, and the sample that is shipped as one."""

import numpy as np
import pytest
import torch

import dsetpack
from dsetpack.decoders import decoder
from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.pack.arrays import as_images
from dsetpack.trainers.data import ImageData, load
from dsetpack.trainers.data.idx import FASHION
from tests.support.real_data import DATA, arrays, full


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

"""Raw images as a stream, and the digest that pins them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.spaces import data_digest, images
from tests.support.space_cases import pictures


def test_data_digest_is_what_the_card_documents():
    x = pictures(11)
    data = np.array(x.shape, "<u8").tobytes() + x.numpy().astype("<f4").tobytes()
    assert data_digest(x) == "sha256:" + hashlib.sha256(data).hexdigest()
    assert data_digest(x.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)) == data_digest(x)
    assert data_digest(x.reshape(11, 3, 5, 4)) != data_digest(x)
    assert data_digest(x.flip(0)) != data_digest(x)
    bytes_ = torch.randint(0, 256, (5, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert data_digest(bytes_) == data_digest(torch.from_numpy(bytes_.numpy().astype(np.float32) / np.float32(255)))


def test_images_are_streamed_in_order_in_small_batches(monkeypatch):
    x = pictures(11)
    monkeypatch.setattr(images, "_VALUES", 3 * x[0].numel())
    batches = list(images.raw_batches(x))
    assert [len(batch) for batch in batches] == [3, 3, 3, 2]
    assert torch.equal(torch.cat(batches), x)
    digest = data_digest(x)
    monkeypatch.undo()
    assert data_digest(x) == digest


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(3, 4, 5), r"raw images have shape \[3, 4, 5\]"),
        (torch.rand(0, 3, 4, 5), "with N, C, H, W >= 1"),
        (torch.rand(2, 1, 3, 3).double(), "raw images are torch.float64; expected float32"),
        (torch.rand(2, 1, 3, 3) + 1, r"raw images range from 1.* expected \[0, 1\]"),
        (torch.full((2, 1, 3, 3), torch.nan), "raw images range from nan to nan"),
    ],
    ids=["axes", "none", "float64", "range", "nan"],
)
def test_what_are_no_raw_images(x, message):
    with pytest.raises(FormatError, match=message):
        data_digest(x)

"""Raw images as a stream, and the digest that pins them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from dsetpack.spaces import data_digest
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

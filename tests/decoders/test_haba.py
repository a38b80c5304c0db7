"""``haba``: the papers' parameter counts, patches, starting values."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dsetpack.decoders import decoder
from tests.support.decoder_cases import (
    CIFAR,
    MNIST,
    close,
    parameters,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"depth": 0}, 6144),
        ({"depth": 1}, 6312),
        ({"depth": 2}, 10963),
        ({"depth": 3}, 16131),
        ({"channels": 8}, 16827),
        ({"channels": 16}, 33651),
        ({"form": "released"}, 5568),
        ({"form": "released", "source_channels": 1}, 5514),
        ({"factor": 2}, 6312),
    ],
)
def test_haba_parameters_are_the_papers(config: dict[str, Any], count: int) -> None:
    assert parameters("haba", decoders=1, **config) == count
    assert parameters("haba", decoders=5, **config) == 5 * count


def test_haba_grey_and_shared_parameters() -> None:
    assert parameters("haba", MNIST, decoders=1) == 1588
    assert parameters("haba", decoders=5, shared=True) == 5 * 6144 + 2 * 84


def test_bases_start_as_the_plain_affine_map() -> None:
    bank = decoder("haba", {"decoders": 2, "depth": 0}, MNIST, 10)
    x = torch.rand(3, *MNIST)
    close(bank(x, torch.tensor([0, 1, 1])), x)


def test_autocast_keeps_the_batch_together() -> None:
    bank = decoder("haba", {"decoders": 3}, CIFAR, 10)
    x, index = torch.rand(4, *CIFAR), torch.tensor([0, 2, 1, 2])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert bank(x, index).dtype == torch.float32

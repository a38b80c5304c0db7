"""Decoded values and gradients against one decoder at a time, built from ``torch.nn`` modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dsetpack.decoders import base, decoder
from tests.support.decoder_cases import (
    CASES,
    CIFAR,
    IDS,
    Oracle,
    close,
    randomized,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("kind", "config", "image", "oracle"), CASES, ids=IDS)
def test_forward_and_product_equal_single_modules(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], oracle: Oracle
) -> None:
    bank = randomized(decoder(kind, config, image, 10).double())
    count, state = bank.bank_size, bank.state_dict()
    generator = torch.Generator().manual_seed(1)
    sources = torch.rand(7, *bank.source_shape, generator=generator, dtype=torch.float64) - 0.3
    index = torch.randint(count, (7,), generator=generator)
    rows = torch.randint(7, (11,), generator=generator)
    slots = torch.randint(count, (11,), generator=generator)
    with torch.no_grad():
        expected = torch.stack([oracle(state, k, x) for k, x in zip(index.tolist(), sources, strict=True)])
        close(bank(sources, index), expected)
        every = torch.stack([torch.stack([oracle(state, k, x) for k in range(count)]) for x in sources])
        close(bank.product(sources), every)
        close(bank(sources, slots, rows), every[rows, slots])
        same = torch.full((7,), count - 1)
        close(bank(sources, same), every[:, -1])
        close(bank.unchecked_one(sources, count - 1), every[:, -1])
        assert torch.equal(bank(sources, index), bank(sources, index))
        close(bank.float()(sources.float(), index), expected.float())
        close(bank.product(sources.float()), every.float())


@pytest.mark.parametrize(("kind", "config", "image", "oracle"), CASES, ids=IDS)
def test_the_way_without_loops_decodes_the_same(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPUs and exported graphs decode this way."""
    bank = randomized(decoder(kind, config, image, 10))
    sources, index = torch.rand(5, *bank.source_shape), torch.arange(5) % bank.bank_size
    with torch.no_grad():
        pairs, product = bank(sources, index), bank.product(sources)
        monkeypatch.setattr(base, "prefers_loops", lambda x: False)
        close(bank(sources, index), pairs)
        close(bank(sources.flip(0), index, torch.arange(4, -1, -1)), pairs)
        close(bank.product(sources), product)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("upsample", {"factor": 3}),
        ("haba", {"decoders": 3, "depth": 2}),
        ("haba", {"decoders": 3, "form": "released"}),
        ("haba", {"decoders": 2, "factor": 2}),
        ("kfs", {"decoders": 3, "channels": (6, 5, 4)}),
        ("kfs", {"decoders": 3, "channels": (6, 5), "kernel": 4}),
    ],
)
def test_a_traced_graph_has_a_dynamic_batch(kind: str, config: dict[str, Any]) -> None:
    bank = randomized(decoder(kind, config, CIFAR, 10))
    batch = torch.export.Dim("batch", min=1, max=4096)
    sources, index = torch.rand(3, *bank.source_shape), torch.tensor([1, 0, 2])
    program = torch.export.export(bank, (sources, index), dynamic_shapes=({0: batch}, {0: batch}))
    for size in (3, 5):
        x, k = torch.rand(size, *bank.source_shape), torch.arange(size) % 3
        with torch.no_grad():
            close(program.module()(x, k), bank(x, k))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("kind", "config", "image", "oracle"), CASES, ids=IDS)
def test_a_gpu_decodes_the_same(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee")
    bank = randomized(decoder(kind, config, image, 10))
    sources, index = torch.rand(9, *bank.source_shape), torch.arange(9) % bank.bank_size
    with torch.no_grad():
        pairs, product = bank(sources, index), bank.product(sources)
        bank.cuda()
        close(bank(sources.cuda(), index.cuda()).cpu(), pairs)
        close(bank(sources.cuda(), index).cpu(), pairs)
        close(bank.product(sources.cuda()).cpu(), product)

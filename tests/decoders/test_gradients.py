"""Gradients of sources and banks: correct, the same in both ways, and the same bits each time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from dsetpack.decoders import Decoder, base, decoder
from tests.support.decoder_cases import (
    CIFAR,
    close,
    oracle_haba,
    randomized,
)

pytestmark = pytest.mark.usefixtures("one_thread")
GRADIENTS = [
    ("images", {}, (2, 3, 3)),
    ("upsample", {"factor": 2}, (1, 5, 4)),
    ("haba", {"decoders": 2, "depth": 0}, (1, 4, 4)),
    ("haba", {"decoders": 2}, (2, 4, 4)),
    ("haba", {"decoders": 2, "shared": True}, (1, 3, 3)),
    ("haba", {"decoders": 2, "form": "released"}, (1, 4, 4)),
    ("haba", {"decoders": 2, "depth": 2, "channels": 1}, (1, 3, 4)),
    ("haba", {"decoders": 2, "factor": 2}, (1, 4, 5)),
    ("haba", {"decoders": 2, "factor": 2, "shared": True}, (1, 4, 3)),
    ("kfs", {"decoders": 2, "channels": (2, 2, 1)}, (1, 9, 8)),
    ("kfs", {"decoders": 2, "channels": (2, 1), "kernel": 4}, (1, 5, 4)),
    ("generator", {"width": 2, "noise": 3}, (1, 8, 8)),
]


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "wide"])
@pytest.mark.parametrize(("kind", "config", "image"), GRADIENTS, ids=[f"{k}-{c}" for k, c, _ in GRADIENTS])
def test_gradients(
    kind: str, config: dict[str, Any], image: tuple[int, int, int], loops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "prefers_loops", lambda x: loops)
    bank = randomized(decoder(kind, config, image, 2).double(), seed=3)
    for key, tensor in bank.state_dict().items():
        if key.endswith("running_var"):
            tensor.fill_(0.7)
    names = [key for key, _ in bank.named_parameters()]
    generator = torch.Generator().manual_seed(5)
    sources = torch.rand(3, *bank.source_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([1, 0, 1]) % bank.bank_size
    rows = torch.tensor([2, 0, 2])

    def call(x: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        state = dict(zip(names, values, strict=True))
        pairs = torch.func.functional_call(bank, state, (x, index, rows))
        return pairs, torch.func.functional_call(Product(bank), {f"bank.{k}": v for k, v in state.items()}, (x,))

    values = [p.detach().requires_grad_() for p in bank.parameters()]
    assert gradcheck(call, (sources, *values), fast_mode=True)


class Product(nn.Module):
    """A module whose forward is ``product``."""

    def __init__(self, bank: Decoder) -> None:
        super().__init__()
        self.bank = bank

    def forward(self, sources: Tensor) -> Tensor:
        return self.bank.product(sources)


def test_gradients_reach_sources_and_bank_alike_in_both_ways() -> None:
    """The gradient of a sum over random pairs equals that of the single modules."""
    bank = randomized(decoder("haba", {"decoders": 3}, CIFAR, 10))
    oracle = oracle_haba(1, "paper", 3, 3, CIFAR)
    sources, index = torch.rand(6, *CIFAR, requires_grad=True), torch.tensor([2, 0, 2, 1, 0, 2])
    weight = torch.rand(6, *CIFAR)
    (bank(sources, index) * weight).sum().backward()
    state = {key: value.detach().clone().requires_grad_() for key, value in bank.state_dict().items()}
    x = sources.detach().clone().requires_grad_()
    sigma, mu = state["sigma"], state["mu"]
    images = torch.stack([oracle(state, k, x[i]) for i, k in enumerate(index.tolist())])
    (images * weight).sum().backward()
    assert sources.grad is not None
    assert x.grad is not None
    close(sources.grad, x.grad)
    for key, expected in (("sigma", sigma), ("mu", mu)):
        grad = dict(bank.named_parameters())[key].grad
        assert grad is not None
        assert expected.grad is not None
        close(grad, expected.grad)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("kfs", {"decoders": 3, "channels": (12, 9, 6)}),
        ("haba", {"decoders": 3}),
        ("haba", {"decoders": 3, "factor": 2}),
        ("upsample", {"factor": 2}),
    ],
    ids=str,
)
def test_gradients_are_the_same_bits_every_time(kind: str, config: dict[str, Any]) -> None:
    """Sums over repeated decoders and sources must not depend on how threads interleave."""
    torch.set_num_threads(2)
    bank = decoder(kind, config, CIFAR, 10)
    sources = torch.rand(20, *bank.source_shape, requires_grad=True)
    index, rows = torch.randint(3, (64,)), torch.randint(20, (64,))
    weight = torch.randn(64, *CIFAR)
    wanted = [sources, *bank.parameters()]
    first = torch.autograd.grad((bank(sources, index, rows) * weight).sum(), wanted)
    for _ in range(3):
        again = torch.autograd.grad((bank(sources, index, rows) * weight).sum(), wanted)
        assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))

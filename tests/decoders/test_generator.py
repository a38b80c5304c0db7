"""The generator against torch's layers: values, statistics, noise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsetpack.decoders import decoder
from tests.support.decoder_cases import (
    CIFAR,
    MNIST,
    close,
    load,
    parameters,
    randomized,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def oracle_generator(state: dict[str, Tensor], noise: Tensor, side: int, width: int, out: int) -> Tensor:
    """DiM's generator from ``torch.nn`` layers in evaluation mode; [B, noise] to [B, out, side, side]."""

    def norm(layer: nn.Module, prefix: str) -> nn.Module:
        load(layer, state, prefix)
        layer.running_mean, layer.running_var = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
        return layer.eval()

    x = load(nn.Linear(noise.shape[1], 16 * width), state, "fc")(noise)
    x = nn.ReLU()(norm(nn.BatchNorm1d(16 * width), "fc_norm")(x)).view(-1, width, 4, 4)
    first = 3 if side == 28 else 4
    layers: list[nn.Module] = [nn.ConvTranspose2d(width, width, first, stride=2, padding=1)]
    layers += [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
    layers += [nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)]
    layers += [nn.Conv2d(width, width, 3, padding=1), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)]
    for i, layer in enumerate(layers):
        x = load(layer, state, f"blocks.{i}.conv")(x)
        x = nn.ReLU()(norm(nn.BatchNorm2d(width), f"blocks.{i}.norm")(x))
    return (nn.Tanh()(load(nn.Conv2d(width, out, 3, padding=1), state, "out")(x)) + 1) / 2


@pytest.mark.parametrize("image", [CIFAR, MNIST], ids=str)
def test_generator_equals_torch_layers(image: tuple[int, int, int]) -> None:
    bank = randomized(decoder("generator", {"width": 6, "noise": 20}, image, 10))
    noise, index = torch.randn(4, 20), torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        expected = oracle_generator(bank.state_dict(), noise, image[1], 6, image[0])
        close(bank(noise, index), expected)
        close(bank.product(noise)[:, 0], expected)
        close(bank(noise, index[:2], torch.tensor([3, 1])), expected[[3, 1]])


@pytest.mark.parametrize("side", [7, 8, 14, 16, 56, 64])
def test_generator_sizes(side: int) -> None:
    bank = decoder("generator", {"width": 2, "noise": 3}, (1, side, side), 2)
    assert bank.product(torch.randn(2, 3)).shape == (2, 1, 1, side, side)


def test_generator_statistics() -> None:
    bank = decoder("generator", {"width": 6, "noise": 20}, CIFAR, 10)
    noise = torch.randn(8, 20)
    index = torch.zeros(8, dtype=torch.int64)
    before = {key: value.clone() for key, value in bank.state_dict().items()}
    assert not bank.training
    with torch.no_grad():
        decoded = bank(noise, index)
        close(bank(noise[:3], index[:3]), decoded[:3])
        assert all(torch.equal(value, before[key]) for key, value in bank.state_dict().items())

        bank.train()
        trained = bank(noise, index)
        assert not torch.allclose(trained, decoded, atol=1e-3)
        assert not torch.allclose(bank(noise[:3], index[:3]), trained[:3], atol=1e-4)
        after = bank.state_dict()
        hidden = F.linear(noise, after["fc.weight"], after["fc.bias"])
        moved = before["fc_norm.running_mean"] * 0.9 + hidden.mean(0) * 0.1
        close(after["fc_norm.running_mean"], moved * 0.9 + hidden[:3].mean(0) * 0.1)
        assert not any("num_batches" in key for key in after)
        bank.eval()
        assert torch.equal(bank(noise, index), bank(noise, index))


def test_condition_overwrites_the_first_entries() -> None:
    bank = decoder("generator", {"width": 2, "noise": 14}, MNIST, 10)
    noise, labels = torch.randn(3, 14), torch.tensor([0, 9, 4])
    kept = noise.clone()
    made = bank.condition(noise, labels)
    assert torch.equal(made[:, :10], torch.eye(10)[labels])
    assert torch.equal(made[:, 10:], noise[:, 10:])
    assert torch.equal(noise, kept)
    assert made.dtype == noise.dtype


def test_generator_parameters_are_the_papers() -> None:
    assert parameters("generator") == 3_559_363
    assert parameters("generator", MNIST) == 3_286_921

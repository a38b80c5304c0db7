"""Noise: corruptions that change each value on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from dsetpack.trainers.data.corruptions.base import Corruption, Draws, Values


def gaussian_noise(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Add σ z with standard normal z. Value: σ."""
    return x + values[0] * draws.normal(*x.shape[1:])


def shot_noise(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Draw Poisson(λ x) / λ, with mean x and variance x / λ. Value: λ, the number of photons in a white pixel."""
    return draws.poisson(values[0] * x) / values[0]


def impulse_noise(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Set each value, with probability p, to 0 or 1, both equally likely (salt and pepper). Value: p."""
    hit, salt = draws.uniform(*x.shape[1:]) < values[0], draws.uniform(*x.shape[1:]) < 0.5
    return torch.where(hit, salt.float(), x)


def speckle_noise(x: Tensor, values: Values, draws: Draws) -> Tensor:
    """Multiply by 1 + σ z with standard normal z. Value: σ."""
    return x * (1 + values[0] * draws.normal(*x.shape[1:]))


CORRUPTIONS = {
    "gaussian_noise": Corruption(gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.1,))),
    "shot_noise": Corruption(shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    "impulse_noise": Corruption(impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    "speckle_noise": Corruption(speckle_noise, ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,))),
}

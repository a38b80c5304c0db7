"""A stand-in for ``dsetpack.Pack`` whose images say what was asked for: pair, seed, epoch, and the pair again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dsetpack.formats.card import Card
from dsetpack.order.pairs import PairTable

# The fork server imports torch once, so that each worker is a quick fork of it.
multiprocessing.set_forkserver_preload(["torch", "numpy"])


class FakePack:
    def __init__(
        self,
        parts: Sequence[tuple[int, int]] = ((7, 3),),
        rule: str = "product",
        soft: bool = False,
        device: str = "cpu",
    ) -> None:
        self.table = PairTable(parts)
        self.card = Card.model_validate(
            {"title": "fake", "classes": ["a", "b", "c"], "shape": (1, 2, 2), "epoch_rule": rule}
        )
        hard = torch.arange(len(self.table)) % 3
        self.labels = torch.nn.functional.one_hot(hard, 3).float() if soft else hard
        self.weight = torch.ones(1, requires_grad=True)  # as in a real pack, decoding is differentiable
        self.device = torch.device(device)
        self.calls = 0

    def __len__(self) -> int:
        return len(self.table)

    def to(self, device: Any) -> FakePack:
        return self

    def decode(self, pair_ids: Any, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
        self.calls += 1
        numbers = torch.as_tensor(pair_ids, dtype=torch.int64)
        said = torch.stack([numbers, torch.full_like(numbers, seed), torch.full_like(numbers, epoch), numbers], dim=1)
        return said.float().reshape(-1, 1, 2, 2) * self.weight, self.labels[numbers]


def pairs_of(x: Tensor) -> list[int]:
    """The pairs that a batch of fake images shows."""
    return x[:, 0, 0, 0].int().tolist()


def epochs_of(x: Tensor) -> set[int]:
    """The epochs that a batch of fake images was decoded for."""
    return set(x[:, 0, 1, 0].int().tolist())

"""The smallest inputs for training: a loader, a pack, a network."""

from __future__ import annotations

import torch
from torch import nn

from dsetpack.training.train import train


class Loader:
    """Fixed batches; counts its epochs."""

    def __init__(self, batches):
        self.batches, self.epochs = batches, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.epochs += 1
        yield from self.batches


class Pack:
    def __init__(self, batches, sized=True):
        self.made = Loader(batches)
        self.sized = sized
        self.asked = None

    def loader(self, *, batch_size, seed, device):
        self.asked = (batch_size, seed, device)
        return self.made if self.sized else iter(self.made.batches)


def data(n=8, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    return torch.randn(n, 1, 4, 4, generator=g) * 0.3 + y.view(-1, 1, 1, 1), y


def net(classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=g) * 0.1
    return model


def run(model, pack, recipe, augmentation=None, **options):
    options = {"seed": 0, "device": "cpu", **options}
    return train(model, pack, recipe=recipe, augmentation=augmentation, **options)

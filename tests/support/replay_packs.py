"""Stages for replay memories, and what a memory holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

import dsetpack
from dsetpack import Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.card import Labels
from dsetpack.formats.kinds import kind_config
from dsetpack.replay import ReplayMemory

SHAPE = (1, 12, 12)


def arrays(classes, each, seed=0):
    """uint8 images, class by class, and their labels."""
    labels = np.repeat(np.array(classes), each)
    return np.random.default_rng(seed).integers(0, 256, (len(labels), *SHAPE), dtype=np.uint8), labels


def pack_of(kind, settings, labels, classes=4, seed=0, shape=SHAPE, **card):
    """A pack of random sources and decoders of some kind."""
    config = kind_config(kind)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bank = decoder(kind, config, shape, classes).requires_grad_(False).eval()
        sources = torch.randn(len(labels), *config.source_shape(shape))
    made = dsetpack.Card(title=kind, classes=tuple(map(str, range(classes))), shape=shape, **card)
    return Pack(made, [Part(kind, config, bank, sources, torch.tensor(labels))])


def kfs(labels, **options):
    return pack_of("kfs", {"decoders": 3, "channels": (2, 3), "kernel": 4}, labels, **options)


def many(labels):
    return pack_of("kfs", {"decoders": 60, "channels": (2, 3), "kernel": 4}, labels)


def haba(labels, **options):
    return pack_of("haba", {"decoders": 2}, labels, epoch_rule="paired", **options)


def memory_of(stages, **options):
    memory = ReplayMemory(**{"budget": "1MB", **options})
    for number, pack in enumerate(stages):
        memory.add(pack, task=f"task {number}")
    return memory


def state(memory):
    """All that a failed change must leave alone."""
    if not memory.tasks:
        return ((), 0, memory.budget)
    return (memory.tasks, memory.bytes, memory.budget, memory.pack, [part.sources for part in memory.pack.parts])


def soft(pack):
    part = replace(pack.parts[0], labels=torch.eye(4)[pack.parts[0].labels])
    return Pack(pack.card.replace(labels=Labels(kind="soft")), [part])


def generator():
    config = kind_config("generator")(width=4, noise=8)
    bank = decoder("generator", config, (1, 8, 8), 4)
    card = dsetpack.Card(title="g", classes=tuple("0123"), shape=(1, 8, 8), per_class=2)
    return Pack(card, [Part("generator", config, bank, None, torch.arange(4).repeat_interleave(2))])

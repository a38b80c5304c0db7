"""Small parts and packs of every kind, and packs through a file."""

from __future__ import annotations

import torch

import dsetpack
from dsetpack import Card, Pack, Part
from dsetpack.decoders import decoder
from dsetpack.formats.kinds import kind_config

CLASSES = ("a", "b", "c")
KINDS = {
    "images": {},
    "upsample": {"factor": 2},
    "haba": {"decoders": 3, "channels": 3, "depth": 1},
    "kfs": {"decoders": 4, "channels": (6, 4, 3), "kernel": 2},
}


def make_part(kind, n=9, image=(1, 16, 16), labels=None, bank=None, **extra):
    torch.manual_seed(len(kind) + n)
    config = kind_config(kind)(**KINDS[kind])
    made = bank or decoder(kind, config, image, len(CLASSES)).requires_grad_(False).eval()
    sources = torch.rand(n, *config.source_shape(image))
    labels = torch.arange(n) % len(CLASSES) if labels is None else labels
    return Part(kind, config, made, sources, labels, **extra)


def make_pack(kind="kfs", image=(1, 16, 16), n=9, **card):
    return Pack(Card(title="t", classes=CLASSES, shape=image, **card), [make_part(kind, n, image)])


def reopened(pack, encoding="exact"):
    return dsetpack.open(pack.to_bytes(encoding))


def generator_pack(images: int, **card: int) -> Pack:
    """A generator that makes ``images`` images of each of three classes."""
    config = kind_config("generator")(width=2, noise=5)
    made = Card.model_validate({"title": "g", "classes": ("a", "b", "c"), "shape": (1, 8, 8), **card})
    labels = torch.arange(3).repeat_interleave(images)
    return Pack(made, [Part("generator", config, decoder("generator", config, made.shape, 3), None, labels)])

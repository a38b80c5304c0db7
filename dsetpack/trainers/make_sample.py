"""Make the shipped sample: the first 200 training and 100 test images of each class of Fashion-MNIST.

python -m dsetpack.trainers.make_sample FOLDER_WITH_THE_IDX_FILES OUT.dpk
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dsetpack.decoders import decoder
from dsetpack.formats.card import Card, Provenance
from dsetpack.formats.kinds.images import ImagesConfig
from dsetpack.pack.arrays import as_images
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.trainers.data.reader import ImageData
from dsetpack.trainers.data.registry import load

TRAIN_PER_CLASS, TEST_PER_CLASS = 200, 100


def sample(root: Path) -> Pack:
    """Make the sample as a pack of kind ``images`` with the parts ``train`` and ``test``."""
    train, test = load("fashion-mnist", root, "train"), load("fashion-mnist", root, "test")
    card = Card(
        title="Fashion-MNIST sample",
        description="Real images: the first 200 training and 100 test images of each class, in file order.",
        license="MIT",
        credit="Fashion-MNIST, Copyright 2017 Zalando SE (Xiao, Rasul, Vollgraf, arXiv:1708.07747)",
        classes=train.classes,
        shape=(1, 28, 28),
        provenance=Provenance(
            dataset="fashion-mnist", dataset_digest=train.digest, method="selection: first of each class"
        ),
    )
    parts = [_part(train, TRAIN_PER_CLASS, "train", card), _part(test, TEST_PER_CLASS, "test", card)]
    return Pack(card, parts)


def _part(data: ImageData, per_class: int, name: str, card: Card) -> Part:
    chosen = torch.cat([first(data.labels, label, per_class) for label in range(len(card.classes))])
    config = ImagesConfig()
    bank = decoder("images", config, card.shape, len(card.classes))
    return Part("images", config, bank, as_images(data.images[chosen]), data.labels[chosen].long(), name=name)


def first(labels: Tensor, label: int, count: int) -> Tensor:
    """The indices of the first ``count`` samples of a class."""
    return torch.nonzero(labels == label)[:count, 0]


if __name__ == "__main__":
    sample(Path(sys.argv[1])).save(sys.argv[2])

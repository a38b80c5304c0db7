"""What the tests of protocols share."""

from __future__ import annotations

from dsetpack.formats.card import Augmentation, Card, Recipe

RECIPE = Recipe(steps=3, width=4, lr=0.02)


def card(**fields):
    fields = {"recipe": RECIPE, "augmentation": Augmentation(ops=("flip",)), **fields}
    return Card(title="x", classes=("a", "b"), shape=(1, 28, 28), **fields)

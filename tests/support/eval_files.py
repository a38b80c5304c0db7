"""A pack, and the data that it is tested on."""

from __future__ import annotations

from dsetpack import Recipe

RECIPE = Recipe(steps=8, batch_size=8, lr=0.05, width=4)
EVAL = ("eval", "x.dpk", "--data", "mine.npz")

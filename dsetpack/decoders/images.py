"""``images``: the identity."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dsetpack.decoders import base
from dsetpack.formats.kinds import images


class Decoder(base.Decoder):
    """Sources [B, C, H, W] are the images; the bank is empty and K is 1."""

    config: images.Config

    @override
    def one(self, sources: Tensor, number: int) -> Tensor:
        """The sources themselves: the same memory, not a copy."""
        return sources

    @override
    def pairs(self, sources: Tensor, index: Tensor, rows: Tensor | None) -> Tensor:
        return base.take(sources, rows)

"""``images``: the identity."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dsetpack.decoders.base import Decoder, take
from dsetpack.formats.kinds.images import ImagesConfig


class ImagesDecoder(Decoder):
    """Sources [B, C, H, W] are the images; the bank is empty and K is 1."""

    config: ImagesConfig

    @override
    def unchecked_one(self, sources: Tensor, decoder_id: int) -> Tensor:
        """The sources themselves: the same memory, not a copy."""
        return sources

    @override
    def unchecked_pairs(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        return take(sources, source_ids)


DECODER = ImagesDecoder

"""``upsample``: cut a source into f×f patches and enlarge each bilinearly (IDC, Kim et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from dsetpack.decoders.base import Decoder, take
from dsetpack.formats.kinds.upsample import UpsampleConfig

PADDING = 0.5


class UpsampleDecoder(Decoder):
    """Source [C, H, W] and patch number k (row k // f, column k % f) make an image [C, H, W]. Nothing is learned.

    Bilinear enlargement is linear in rows and in columns, so it is two small matrix products. They give the values of
    ``torch.nn.functional.interpolate`` (up to rounding) and are several times faster on a CPU.
    """

    config: UpsampleConfig

    def __init__(self, config: UpsampleConfig, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        for name, patch, side in zip(("rows", "columns"), config.patch_size(image), image[1:], strict=True):
            self.register_buffer(name, _bilinear(patch, side, config.align_corners), persistent=False)

    rows: Tensor
    columns: Tensor

    @override
    def unchecked_one(self, sources: Tensor, decoder_id: int) -> Tensor:
        f = self.config.factor
        return self._enlarge(self._patches(sources)[:, decoder_id // f, decoder_id % f])

    @override
    def unchecked_pairs(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        sources = take(sources, source_ids)
        each = torch.arange(sources.shape[0], device=sources.device)
        f = self.config.factor
        return self._enlarge(self._patches(sources)[each, decoder_ids // f, decoder_ids % f])

    @override
    def unchecked_product(self, sources: Tensor) -> Tensor:
        return self._enlarge(self._patches(sources).flatten(1, 2))

    def _patches(self, sources: Tensor) -> Tensor:
        """A view [B, f, f, C, h, w] of the padded sources."""
        f, (h, w) = self.config.factor, self.config.patch_size(self.image)
        below, right = f * h - self.image[1], f * w - self.image[2]
        padded = F.pad(sources, (0, right, 0, below), value=PADDING) if below or right else sources
        grid = torch.unflatten(torch.unflatten(padded, 3, (f, w)), 2, (f, h))
        return grid.permute(0, 2, 4, 1, 3, 5)

    def _enlarge(self, patches: Tensor) -> Tensor:
        """Enlarge [..., h, w] to [..., H, W]."""
        return self.rows.to(patches.dtype) @ (patches @ self.columns.to(patches.dtype).t())


def _bilinear(patch: int, side: int, align_corners: bool) -> Tensor:
    """The matrix [side, patch] that enlarges a line of pixels."""
    lines = torch.eye(patch, dtype=torch.float64)[None]
    return F.interpolate(lines, size=side, mode="linear", align_corners=align_corners)[0].t().float().contiguous()


DECODER = UpsampleDecoder

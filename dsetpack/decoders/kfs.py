"""``kfs``: small decoders of latent codes (KFS, Lee et al. 2022, appendix tables 4, 5, 7 and 8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from dsetpack.decoders._conv import ConvBanks
from dsetpack.decoders.base import Decoder, prefers_loops, take
from dsetpack.formats.kinds.kfs import KfsConfig


class KfsDecoder(Decoder):
    """Code [z, h, w] and decoder k make a raw image [C, H, W] in [0, 1]: transposed convolutions, then a sigmoid.

    With kernel 2 every code pixel makes its own block of 8×8 (or 4×4) image pixels, and there is no activation between
    the layers. So a decoder is one affine map from [z] to [C·s·s], composed from its layers at each call. That is exact
    (up to rounding), also for gradients.

    It starts as PyTorch's transposed convolutions do; the paper then pre-trains one decoder and copies it to all.
    """

    config: KfsConfig

    def __init__(self, config: KfsConfig, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        self.layers = ConvBanks(config.bank_shapes(image, classes), "layers")

    @override
    def unchecked_one(self, sources: Tensor, decoder_id: int) -> Tensor:
        if self.config.kernel == 2:
            weight, bias = self._affine(slice(decoder_id, decoder_id + 1))
            return self._blocks(torch.matmul(_pixels(sources), weight[0]) + bias[0])
        for weight, bias in self.layers.tensors():
            sources = F.conv_transpose2d(sources, weight[decoder_id], bias[decoder_id], stride=2, padding=1)
        return self._finish(sources)

    @override
    def unchecked_pairs(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        if self.config.kernel == 4:
            return super().unchecked_pairs(sources, decoder_ids, source_ids)
        weight, bias = self._affine(slice(None))
        pixels = _pixels(take(sources, source_ids))
        return self._blocks(torch.baddbmm(take(bias, decoder_ids), pixels, take(weight, decoder_ids)))

    @override
    def unchecked_product(self, sources: Tensor) -> Tensor:
        if self.config.kernel == 2:
            weight, bias = self._affine(slice(None))
            pixels = _pixels(sources)
            maps = torch.baddbmm(bias, pixels.flatten(0, 1).expand(self.bank_size, -1, -1), weight)
            return self._blocks(torch.unflatten(maps, 1, pixels.shape[:2]).transpose(0, 1))
        return super().unchecked_product(sources) if prefers_loops(sources) else self.grouped(sources)

    def grouped(self, sources: Tensor) -> Tensor:
        """``product`` for kernel 4 in the launches of one decoder: the bank runs as a network of K groups."""
        x = sources.repeat(1, self.bank_size, 1, 1)
        for weight, bias in self.layers.tensors():
            x = F.conv_transpose2d(x, weight.flatten(0, 1), bias.flatten(), 2, 1, groups=self.bank_size)
        return self._finish(torch.unflatten(x, 1, (self.bank_size, -1)))

    def _affine(self, decoders: slice) -> tuple[Tensor, Tensor]:
        """Kernel-2 decoders as maps from a code pixel to its block: [K, z, C·s·s] and [K, 1, C·s·s]."""
        (weight, bias), *later = [(w[decoders], b[decoders, None, :, None, None]) for w, b in self.layers.tensors()]
        bias = bias.expand(-1, -1, -1, *weight.shape[3:])
        for w, b in later:
            weight, bias = _compose(weight, w), _compose(bias, w) + b
        return weight.flatten(2), bias.flatten(2)

    def _blocks(self, maps: Tensor) -> Tensor:
        """Put blocks [..., h·w, C·s·s] side by side and finish them: images [..., C, H, W]."""
        s, (_, h, w) = self.config.scale(), self.source_shape
        blocks = torch.unflatten(torch.unflatten(maps, -1, (self.image[0], s, s)), -4, (h, w))
        lead = range(blocks.dim() - 5)
        row, column, channel, y, x = range(len(lead), blocks.dim())
        return self._finish(blocks.permute(*lead, channel, row, y, column, x).flatten(-2).flatten(-3, -2))

    def _finish(self, x: Tensor) -> Tensor:
        """Cut out the centre [..., C, H, W] and squash it into [0, 1]."""
        height, width = self.image[1:]
        if x.shape[-2:] == (height, width):
            return x.sigmoid_()
        top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
        return torch.sigmoid(x[..., top : top + height, left : left + width])


def _pixels(codes: Tensor) -> Tensor:
    """Turn [B, z, h, w] into [B, h·w, z]."""
    return codes.flatten(2).transpose(1, 2)


def _compose(block: Tensor, weight: Tensor) -> Tensor:
    """Apply a transposed convolution of kernel 2 and stride 2 on blocks [K, n, in, s, s]: [K, n, out, 2s, 2s]."""
    k, n, _, s, _ = block.shape
    product = block.permute(0, 1, 3, 4, 2).reshape(k, n * s * s, -1) @ weight.flatten(2)
    return product.view(k, n, s, s, -1, 2, 2).permute(0, 1, 4, 2, 5, 3, 6).reshape(k, n, -1, 2 * s, 2 * s)


DECODER = KfsDecoder

"""``haba``: hallucinators (HaBa, Liu et al. 2022, section 3.1, equation 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from dsetpack.decoders import base
from dsetpack.decoders._conv import ConvBanks, Layers, as_convolution, conv2d, strips
from dsetpack.formats.kinds import haba


class Decoder(base.Decoder):
    """Basis [c', H, W] and hallucinator k make an image dec(sigma[k] * enc(basis) + mu[k]), in the pack's space.

    ``dsetpack.formats.kinds.haba.Config`` describes the layers. Starts as the paper: sigma 1, mu 0, convolutions as
    PyTorch starts them.
    """

    config: haba.Config

    def __init__(self, config: haba.Config, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        shapes = config.bank_shapes(image, classes)
        self.sigma = nn.Parameter(torch.ones(shapes["sigma"]))
        self.mu = nn.Parameter(torch.zeros(shapes["mu"]))
        self.encoder = ConvBanks(shapes, "encoder")
        self.decoder = ConvBanks(shapes, "decoder")

    @override
    def one(self, sources: Tensor, number: int) -> Tensor:
        return self.runner()(sources, number)

    @override
    def runner(self) -> Callable[[Tensor, int], Tensor]:
        encoder, decoder = self._layers()
        return lambda sources, number: self._decode(
            torch.addcmul(self.mu[number], self.sigma[number], self._encode(sources, _pick(encoder, number))),
            _pick(decoder, number),
        )

    @override
    def pairs(self, sources: Tensor, index: Tensor, rows: Tensor | None) -> Tensor:
        if base.prefers_loops(sources) or not self._one_network():
            return super().pairs(sources, index, rows)
        encoder, decoder = self._layers()
        features = self._encode(base.take(sources, rows), _pick(encoder, 0))
        features = torch.addcmul(base.take(self.mu, index), base.take(self.sigma, index), features)
        return self._decode(features, _pick(decoder, 0))

    @override
    def all_pairs(self, sources: Tensor) -> Tensor:
        if not self._one_network():
            return super().all_pairs(sources) if base.prefers_loops(sources) else self.grouped(sources)
        encoder, decoder = self._layers()
        features = torch.addcmul(self.mu, self.sigma, self._encode(sources, _pick(encoder, 0))[:, None])
        return torch.unflatten(self._decode(features.flatten(0, 1), _pick(decoder, 0)), 0, (-1, self.bank_size))

    def grouped(self, sources: Tensor) -> Tensor:
        """``product`` in as few launches as one hallucinator needs: the bank as one wide network of K groups."""
        encoder, decoder = ([(w.flatten(0, 1), b.flatten()) for w, b in layers] for layers in self._layers())
        features = self._encode(sources, encoder, self.bank_size)
        features = torch.addcmul(self.mu.flatten(0, 1), self.sigma.flatten(0, 1), features)
        return torch.unflatten(self._decode(features, decoder, self.bank_size), 1, (self.bank_size, -1))

    def _one_network(self) -> bool:
        """Whether all hallucinators have the same convolutions (or none), so that none needs to be picked."""
        return self.config.shared or self.config.depth == 0 or self.bank_size == 1

    def _layers(self) -> tuple[Layers, Layers]:
        """Weights [D, ...] and biases [D, ...] of encoder and decoder, those of stride 1 for ``conv2d``."""
        encoder, decoder = self.encoder.tensors(), self.decoder.tensors()
        if self.config.form == "released":
            decoder = [(as_convolution(weight), bias) for weight, bias in decoder]
        if encoder and base.prefers_loops(self.sigma):
            encoder[0] = strips(*encoder[0], self.image[1] - (2 if self.config.form == "released" else 0))
            decoder[-1] = strips(*decoder[-1], self.image[1])
        return encoder, decoder

    def _encode(self, x: Tensor, layers: Layers, groups: int = 1) -> Tensor:
        """Run the encoder of one hallucinator, or of all side by side: [B, groups·c, h, w]."""
        paper = self.config.form == "paper"
        for i, (weight, bias) in enumerate(layers):
            if i == 0:  # even of all: they read the same source
                x = conv2d(x, weight, bias, padding=int(paper))
            else:
                x = F.conv2d(x, weight, bias, 2, 1, groups=groups)
            x = F.relu(x, inplace=True) if paper else x
        return x

    def _decode(self, x: Tensor, layers: Layers, groups: int = 1) -> Tensor:
        if not layers:
            return x
        for i, (weight, bias) in enumerate(layers[:-1]):
            x = F.relu(F.conv_transpose2d(x, weight, bias, 2, 1, self._surplus(i), groups), inplace=True)
        return conv2d(x, *layers[-1], padding=1 if self.config.form == "paper" else 2, groups=groups)

    def _surplus(self, layer: int) -> tuple[int, int]:
        """The ``output_padding`` that restores the size which the mirrored encoder layer halved, rounding up."""
        halved = 2 ** (self.config.depth - 2 - layer)
        height, width = (-(-side // halved) for side in self.image[1:])
        return (height + 1) % 2, (width + 1) % 2


def _pick(layers: Layers, number: int) -> Layers:
    return [(weight[number], bias[number]) if len(weight) > 1 else (weight[0], bias[0]) for weight, bias in layers]

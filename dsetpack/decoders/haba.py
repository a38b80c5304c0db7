"""``haba``: hallucinators (HaBa, Liu et al. 2022, section 3.1, equation 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from dsetpack.decoders import base
from dsetpack.decoders._conv import ConvBank, conv2d, conv_banks, conv_transpose2d
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
        self.encoder = conv_banks(shapes, "encoder")
        self.decoder = conv_banks(shapes, "decoder")

    @override
    def one(self, sources: Tensor, number: int) -> Tensor:
        features = torch.addcmul(self.mu[number], self.sigma[number], self._encode(sources, number))
        return self._decode(features, number)

    @override
    def pairs(self, sources: Tensor, index: Tensor) -> Tensor:
        if not self._one_network():
            return super().pairs(sources, index)
        features = torch.addcmul(base.take(self.mu, index), base.take(self.sigma, index), self._encode(sources, 0))
        return self._decode(features, 0)

    @override
    def all_pairs(self, sources: Tensor) -> Tensor:
        if self._one_network():
            features = torch.addcmul(self.mu, self.sigma, self._encode(sources, 0)[:, None])
            return torch.unflatten(self._decode(features.flatten(0, 1), 0), 0, (-1, self.bank_size))
        return super().all_pairs(sources) if base.prefers_loops(sources) else self.grouped(sources)

    def grouped(self, sources: Tensor) -> Tensor:
        """``product`` in as few launches as one hallucinator needs: the bank as one wide network of K groups."""
        features = self._encode(sources, None)
        features = torch.addcmul(self.mu.flatten(0, 1), self.sigma.flatten(0, 1), features)
        return torch.unflatten(self._decode(features, None), 1, (self.bank_size, -1))

    def _one_network(self) -> bool:
        """Whether all hallucinators have the same convolutions (or none), so that none needs to be picked."""
        return self.config.shared or self.config.depth == 0 or self.bank_size == 1

    def _encode(self, x: Tensor, number: int | None) -> Tensor:
        """The encoder of one hallucinator, or of all (None): [B, K·c, h, w]."""
        paper = self.config.form == "paper"
        for i, bank in enumerate(self.encoder):
            weight, bias = _weights(bank, number)
            groups = self.bank_size if number is None and i else 1  # the first layer of all reads the same source
            x = conv2d(x, weight, bias, stride=2 if i else 1, padding=int(paper), groups=groups)
            x = F.relu(x, inplace=True) if paper else x
        return x

    def _decode(self, x: Tensor, number: int | None) -> Tensor:
        groups = self.bank_size if number is None else 1
        for i, bank in enumerate(self.decoder):
            weight, bias = _weights(bank, number)
            if self.config.form == "released":
                x = conv_transpose2d(x, weight, bias, groups=groups)
            elif i == self.config.depth - 1:
                x = conv2d(x, weight, bias, padding=1, groups=groups)
            else:
                x = F.relu(F.conv_transpose2d(x, weight, bias, 2, 1, self._surplus(i), groups), inplace=True)
        return x

    def _surplus(self, layer: int) -> tuple[int, int]:
        """The ``output_padding`` that restores the size which the mirrored encoder layer halved, rounding up."""
        halved = 2 ** (self.config.depth - 2 - layer)
        height, width = (-(-side // halved) for side in self.image[1:])
        return (height + 1) % 2, (width + 1) % 2


def _weights(bank: nn.Module, number: int | None) -> tuple[Tensor, Tensor]:
    assert isinstance(bank, ConvBank)
    return bank.at(number) if number is not None else (bank.weight.flatten(0, 1), bank.bias.flatten())

"""``haba``: hallucinators (HaBa, Liu et al. 2022, section 3.1, equation 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from dsetpack.decoders._conv import ConvBanks, Layers, as_convolution, conv2d, strips
from dsetpack.decoders.base import Decoder, prefers_loops, take
from dsetpack.decoders.upsample import UpsampleDecoder
from dsetpack.formats.kinds.haba import HabaConfig


class HabaDecoder(Decoder):
    """Basis [c', H, W] and hallucinator k make an image dec(sigma[k] * enc(basis) + mu[k]), in the pack's space.

    ``HabaConfig`` describes the layers, and how a source holds several bases (``factor``).
    It starts as in the paper: sigma is 1, mu is 0, and convolutions start as in PyTorch.
    """

    config: HabaConfig
    patches: UpsampleDecoder | None

    def __init__(self, config: HabaConfig, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        shapes = config.bank_shapes(image, classes)
        self.sigma = nn.Parameter(torch.ones(shapes["sigma"]))
        self.mu = nn.Parameter(torch.zeros(shapes["mu"]))
        self.encoder = ConvBanks(shapes, "encoder")
        self.decoder = ConvBanks(shapes, "decoder")
        cut = config.patches()
        grid = (config.source_shape(image)[0], *image[1:])
        self.patches = None if cut is None else UpsampleDecoder(cut, grid, classes)

    @override
    def unchecked_one(self, sources: Tensor, decoder_id: int) -> Tensor:
        return self.prepared()(sources, decoder_id)

    @override
    def prepared(self) -> Callable[[Tensor, int], Tensor]:
        run, patches = self._runner(), self.patches
        if patches is None:
            return run
        count = patches.bank_size
        return lambda sources, decoder_id: run(patches.unchecked_one(sources, decoder_id % count), decoder_id // count)

    @override
    def unchecked_pairs(self, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None) -> Tensor:
        if prefers_loops(sources):
            if self.patches is None:
                return super().unchecked_pairs(sources, decoder_ids, source_ids)
            return self._by_hallucinator(self.patches, sources, decoder_ids, source_ids)
        if self.patches is None:
            return self._gathered(take(sources, source_ids), decoder_ids)
        count = self.patches.bank_size
        return self._gathered(
            self.patches.unchecked_pairs(sources, decoder_ids % count, source_ids), decoder_ids // count
        )

    @override
    def unchecked_product(self, sources: Tensor) -> Tensor:
        if self.patches is None:
            return self._every(sources)
        images = self._every(self.patches.unchecked_product(sources).flatten(0, 1))
        by_source = torch.unflatten(images, 0, (sources.shape[0], self.patches.bank_size))
        return by_source.transpose(1, 2).flatten(1, 2)

    def grouped(self, bases: Tensor) -> Tensor:
        """Decode every basis with every hallucinator in the launches of one: the bank is a network of D groups."""
        count = self.config.decoders
        encoder, decoder = ([(w.flatten(0, 1), b.flatten()) for w, b in layers] for layers in self._layers())
        features = self._encode(bases, encoder, count)
        features = torch.addcmul(self.mu.flatten(0, 1), self.sigma.flatten(0, 1), features)
        return torch.unflatten(self._decode(features, decoder, count), 1, (count, -1))

    def _runner(self) -> Callable[[Tensor, int], Tensor]:
        """A function from bases [B, c', H, W] and the number of a hallucinator to images."""
        encoder, decoder = self._layers()

        def run(bases: Tensor, number: int) -> Tensor:
            features = self._encode(bases, _pick(encoder, number))
            features = torch.addcmul(self.mu[number], self.sigma[number], features)
            return self._decode(features, _pick(decoder, number))

        return run

    def _by_hallucinator(
        self, patches: UpsampleDecoder, sources: Tensor, decoder_ids: Tensor, source_ids: Tensor | None
    ) -> Tensor:
        """Sort the pairs by hallucinator, not by patch: the runs are fewer and longer than by decoder."""
        run, images = self._runner(), sources.new_empty(len(decoder_ids), *self.image)
        hallucinators, cut = decoder_ids // patches.bank_size, decoder_ids % patches.bank_size
        counts = torch.bincount(hallucinators, minlength=self.config.decoders).tolist()
        for hallucinator, positions in enumerate(torch.split(torch.argsort(hallucinators, stable=True), counts)):
            if len(positions):
                ids = positions if source_ids is None else source_ids[positions]
                bases = patches.unchecked_pairs(sources, cut[positions], ids)
                images.index_copy_(0, positions, run(bases, hallucinator).to(images.dtype))
        return images

    def _gathered(self, bases: Tensor, hallucinators: Tensor) -> Tensor:
        """Decode basis i with ``hallucinators[i]`` in launches whose shapes depend only on the batch."""
        if not self._one_network():
            return self.grouped(bases)[torch.arange(bases.shape[0], device=bases.device), hallucinators]
        encoder, decoder = self._layers()
        features = self._encode(bases, _pick(encoder, 0))
        features = torch.addcmul(take(self.mu, hallucinators), take(self.sigma, hallucinators), features)
        return self._decode(features, _pick(decoder, 0))

    def _every(self, bases: Tensor) -> Tensor:
        """Decode every basis with every hallucinator: [B, D, C, H, W]."""
        count = self.config.decoders
        if self._one_network():
            encoder, decoder = self._layers()
            features = torch.addcmul(self.mu, self.sigma, self._encode(bases, _pick(encoder, 0))[:, None])
            return torch.unflatten(self._decode(features.flatten(0, 1), _pick(decoder, 0)), 0, (-1, count))
        if not prefers_loops(bases):
            return self.grouped(bases)
        run = self._runner()
        return torch.stack([run(bases, hallucinator) for hallucinator in range(count)], 1)

    def _one_network(self) -> bool:
        """Whether all hallucinators have the same convolutions, or none: then there is nothing to pick."""
        return self.config.shared or self.config.depth == 0 or self.config.decoders == 1

    def _layers(self) -> tuple[Layers, Layers]:
        """Weights [D, ...] and biases [D, ...] of encoder and decoder; those of stride 1 are made for ``conv2d``."""
        encoder, decoder = self.encoder.tensors(), self.decoder.tensors()
        if self.config.form == "released":
            decoder = [(as_convolution(weight), bias) for weight, bias in decoder]
        if encoder and prefers_loops(self.sigma):
            encoder[0] = strips(*encoder[0], self.image[1] - (2 if self.config.form == "released" else 0))
            decoder[-1] = strips(*decoder[-1], self.image[1])
        return encoder, decoder

    def _encode(self, x: Tensor, layers: Layers, groups: int = 1) -> Tensor:
        """Run the encoder of one hallucinator, or of all side by side: [B, groups·c, h, w]."""
        paper = self.config.form == "paper"
        for i, (weight, bias) in enumerate(layers):
            if i == 0:  # one group even for all: they read the same source
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
    """The layers of one hallucinator; shared layers have only one entry."""
    return [(weight[number], bias[number]) if len(weight) > 1 else (weight[0], bias[0]) for weight, bias in layers]


DECODER = HabaDecoder

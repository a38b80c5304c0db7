"""``haba``: hallucinators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from dsetpack.formats.kinds.haba import HabaConfig
from dsetpack.onnx.graph import Graph, Value, ints
from dsetpack.onnx.kinds._conv import Strips
from dsetpack.onnx.kinds._pairwise import Pairwise
from dsetpack.onnx.kinds.base import DecoderGraph, Weights, by_network
from dsetpack.onnx.kinds.upsample import enlarge


class HabaGraph(DecoderGraph):
    """An encoder, a scale and shift, and a decoder. Hallucinators that share their convolutions are one network."""

    config: HabaConfig

    def __init__(self, config: HabaConfig, image: tuple[int, int, int], classes: int, portable: bool) -> None:
        super().__init__(config, image, classes, portable)
        self.networks = 1 if portable or config.shared or config.depth == 0 else config.decoders
        self.released = config.form == "released"
        channels, height, width = image
        side = 2 if self.released else 0  # pixels that a convolution without padding loses
        self.inward = Strips(config.widths(image)[min(config.depth, 1)], height - side, width - side)
        self.outward = Strips(channels, height, width)

    @override
    def network(self, graph: Graph, decoder_ids: Value) -> Value:
        return graph("Div", decoder_ids, np.int64(self.config.factor**2)) if self.config.factor > 1 else decoder_ids

    @override
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        hallucinators = decoder_ids
        if (patches := self.config.patches()) is not None:
            assert decoder_ids is not None  # there are at least four
            grid = (self.config.source_shape(self.image)[0], *self.image[1:])
            patch = graph("Mod", decoder_ids, np.int64(patches.bank_size()))
            sources = enlarge(graph, patches, grid, sources, patch)
            hallucinators = self.network(graph, decoder_ids)
        if self.portable and hallucinators is not None and not self.config.shared and self.config.depth:
            return self._pairwise(graph, sources, weights, hallucinators)
        layers = self._layers(graph, weights)
        if self.networks == 1 and hallucinators is not None and self.config.decoders > 1:
            sigma, mu = (graph("Gather", weights[role], hallucinators) for role in ("sigma", "mu"))
            only = [graph("Gather", layer, np.int64(0)) for layer in layers]
            return self._run(graph, sources, [sigma, mu, *only])
        every = [weights["sigma"], weights["mu"], *layers]
        return by_network(graph, every, sources, sizes, self.networks, self._run)

    def _layers(self, graph: Graph, weights: Weights) -> list[Value]:
        """Weight and bias of each convolution of the whole bank, in the form that ``_run`` takes."""
        depth, wide = self.config.depth, self.config.widths(self.image)
        layers = [(weights[f"{half}.{i}.weight"], weights[f"{half}.{i}.bias"])
                  for half in ("encoder", "decoder") for i in range(depth)]  # fmt: skip
        if not layers:
            return []
        (first, first_bias), (last, last_bias) = layers[0], layers[-1]
        if self.released:  # a transposed convolution of stride 1 is a convolution with the kernel reversed
            last = graph("Transpose", last, perm=[0, 2, 1, 3, 4])
            last = graph("Slice", last, ints(-1, -1), ints(-4, -4), ints(3, 4), ints(-1, -1))
        layers[0] = self.inward.weights(graph, first, first_bias, wide[0])
        layers[-1] = self.outward.weights(graph, last, last_bias, wide[1])
        return [value for layer in layers for value in layer]

    def _run(self, graph: Graph, x: Value, values: Sequence[Value]) -> Value:
        """Add one hallucinator, or one network with separate ``sigma`` and ``mu`` for each pair."""
        (sigma, mu), depth = values[:2], self.config.depth
        layers = list(zip(values[2::2], values[3::2], strict=True))
        for i, (weight, bias) in enumerate(layers[:depth]):
            if i == 0:
                x = self.inward.run(graph, x, weight, bias, 0 if self.released else 1)
            else:
                x = graph("Conv", x, weight, bias, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
            x = x if self.released else graph("Relu", x)
        x = graph("Add", graph("Mul", x, sigma), mu)
        for i, (weight, bias) in enumerate(layers[depth : 2 * depth - 1]):
            surplus = self._surplus(i)
            x = graph("ConvTranspose", x, weight, bias, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4,
                      output_padding=surplus)  # fmt: skip
            x = graph("Relu", x)
        return self.outward.run(graph, x, *layers[-1], 2 if self.released else 1) if layers else x

    def _pairwise(self, graph: Graph, x: Value, weights: Weights, hallucinators: Value) -> Value:
        """Add the hallucinators with weights of each pair's own."""
        own = {role: graph("Gather", values, hallucinators) for role, values in weights.items()}
        depth, last = self.config.depth, self.config.depth - 1
        wide = self.config.widths(self.image)
        outward = (self.image[0], *wide[1:])
        sizes = [self._size(i) for i in range(depth)]
        for i in range(depth):
            before = self.image[1:] if i == 0 else sizes[i - 1]
            padding, stride = (0 if self.released else 1), (1 if i == 0 else 2)
            layer = Pairwise(wide[i], wide[i + 1], before, sizes[i], 3, stride, padding)
            x = layer.conv(graph, x, own[f"encoder.{i}.weight"], own[f"encoder.{i}.bias"])
            x = x if self.released else graph("Relu", x)
        x = graph("Add", graph("Mul", x, own["sigma"]), own["mu"])
        for i in range(depth):
            before = sizes[last - i]
            after = self.image[1:] if i == last else sizes[last - i - 1]
            transposed = self.released or i < last
            padding, stride = (0 if self.released else 1), (1 if i == last else 2)
            layer = Pairwise(outward[depth - i], outward[last - i], before, after, 3, stride, padding)
            run = layer.transposed if transposed else layer.conv
            x = run(graph, x, own[f"decoder.{i}.weight"], own[f"decoder.{i}.bias"])
            x = x if i == last else graph("Relu", x)
        return x

    def _size(self, layer: int) -> tuple[int, int]:
        """Height and width after an encoder layer: each after the first halves them, rounding up."""
        lost = 2 if self.released else 0
        height, width = (-(-(side - lost) // 2**layer) for side in self.image[1:])
        return height, width

    def _surplus(self, layer: int) -> list[int]:
        """The extra rows and columns that restore the size, which the mirrored encoder layer halved, rounding up."""
        halved = 2 ** (self.config.depth - 2 - layer)
        return [(-(-side // halved) + 1) % 2 for side in self.image[1:]]


GRAPH = HabaGraph

"""``haba``: hallucinators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from dsetpack.formats.kinds.haba import HabaConfig
from dsetpack.onnx.graph import Graph, Value, ints
from dsetpack.onnx.kinds._conv import Strips
from dsetpack.onnx.kinds.base import DecoderGraph, Weights, by_network
from dsetpack.onnx.kinds.upsample import enlarge


class HabaGraph(DecoderGraph):
    """An encoder, a scale and shift, and a decoder. Hallucinators that share their convolutions are one network."""

    config: HabaConfig

    def __init__(self, config: HabaConfig, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        self.networks = 1 if config.shared or config.depth == 0 else config.decoders
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
        layers = self._layers(graph, weights)
        if self.networks == 1 and hallucinators is not None and self.config.decoders > 1:
            sigma, mu = (graph("Gather", weights[role], hallucinators) for role in ("sigma", "mu"))
            only = [graph("Gather", layer, np.int64(0)) for layer in layers]
            return self._run(graph, sources, [sigma, mu, *only])
        name = f"hallucinator{graph.functions}"
        every = [weights["sigma"], weights["mu"], *layers]
        return by_network(graph, name, every, sources, sizes, self.networks, self._run)

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

    def _surplus(self, layer: int) -> list[int]:
        """The extra rows and columns that restore the size, which the mirrored encoder layer halved, rounding up."""
        halved = 2 ** (self.config.depth - 2 - layer)
        return [(-(-side // halved) + 1) % 2 for side in self.image[1:]]


GRAPH = HabaGraph

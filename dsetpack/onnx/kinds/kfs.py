"""``kfs``: small decoders of latent codes."""

from __future__ import annotations

from typing_extensions import override

from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.onnx.graph import Graph, Value, ints
from dsetpack.onnx.kinds._pairwise import Pairwise
from dsetpack.onnx.kinds.base import DecoderGraph, Weights, by_network


class KfsGraph(DecoderGraph):
    """A chain of transposed convolutions, a crop to the centre, and a sigmoid."""

    config: KfsConfig

    def __init__(self, config: KfsConfig, image: tuple[int, int, int], classes: int, portable: bool) -> None:
        super().__init__(config, image, classes, portable)
        self.networks = 1 if portable else config.decoders

    @override
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        count = len(self.config.channels)
        layers = [weights[f"layers.{i}.{part}"] for i in range(count) for part in ("weight", "bias")]
        if self.portable and decoder_ids is not None:
            x = self._pairwise(graph, sources, [graph("Gather", layer, decoder_ids) for layer in layers])
        else:
            x = by_network(graph, layers, sources, sizes, self.networks, self._run)
        _, height, width = self.image
        tall, wide = (side * self.config.scale() for side in self.config.source_shape(self.image)[1:])
        if (tall, wide) != (height, width):
            top, left = (tall - height) // 2, (wide - width) // 2
            x = graph("Slice", x, ints(top, left), ints(top + height, left + width), ints(2, 3))
        return graph("Sigmoid", x)

    def _run(self, graph: Graph, x: Value, layers: list[Value]) -> Value:
        kernel, padding = [self.config.kernel] * 2, [(self.config.kernel - 2) // 2] * 4
        for weight, bias in zip(layers[::2], layers[1::2], strict=True):
            x = graph("ConvTranspose", x, weight, bias, kernel_shape=kernel, strides=[2, 2], pads=padding)
        return x

    def _pairwise(self, graph: Graph, x: Value, layers: list[Value]) -> Value:
        """Add the chain with weights of each pair's own."""
        kernel, channels = self.config.kernel, (*self.config.channels, self.image[0])
        _, height, width = self.config.source_shape(self.image)
        for i, (weight, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            before, after = (height << i, width << i), (height << i + 1, width << i + 1)
            layer = Pairwise(channels[i], channels[i + 1], before, after, kernel, 2, (kernel - 2) // 2)
            x = layer.transposed(graph, x, weight, bias)
        return x


GRAPH = KfsGraph

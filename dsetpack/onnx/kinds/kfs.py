"""``kfs``: small decoders of latent codes."""

from __future__ import annotations

from typing_extensions import override

from dsetpack.formats.kinds.kfs import KfsConfig
from dsetpack.onnx.graph import Graph, Value, ints
from dsetpack.onnx.kinds.base import DecoderGraph, Weights, by_network


class KfsGraph(DecoderGraph):
    """A chain of transposed convolutions, a crop to the centre, and a sigmoid."""

    config: KfsConfig

    def __init__(self, config: KfsConfig, image: tuple[int, int, int], classes: int) -> None:
        super().__init__(config, image, classes)
        self.networks = config.decoders

    @override
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        count = len(self.config.channels)
        layers = [weights[f"layers.{i}.{part}"] for i in range(count) for part in ("weight", "bias")]
        name = f"chain{graph.functions}"
        x = by_network(graph, name, layers, sources, sizes, self.networks, self._run)
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


GRAPH = KfsGraph

"""``generator``: a conditional generator."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from dsetpack.formats.kinds.generator import GeneratorConfig
from dsetpack.onnx.graph import FLOAT, Graph, Value, ints
from dsetpack.onnx.kinds.base import DecoderGraph, Weights

EPSILON = 1e-5


class GeneratorGraph(DecoderGraph):
    """A linear layer, convolutions, batch norms with running statistics, and a tanh."""

    config: GeneratorConfig

    @override
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        def norm(x: Value, name: str) -> Value:
            values = (weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
            return graph("Relu", graph("BatchNormalization", x, *values, epsilon=EPSILON))

        x = graph("Gemm", sources, weights["fc.weight"], weights["fc.bias"], transB=1)
        x = graph("Reshape", norm(x, "fc_norm"), ints(0, self.config.width, 4, 4))
        for i, layer in enumerate(self.config.layers(self.image)):
            parts = (weights[f"blocks.{i}.conv.weight"], weights[f"blocks.{i}.conv.bias"])
            if layer == "conv":
                x = graph("Conv", x, *parts, kernel_shape=[3, 3], pads=[1] * 4)
            else:
                kernel = [4 if layer == "up4" else 3] * 2
                x = graph("ConvTranspose", x, *parts, kernel_shape=kernel, strides=[2, 2], pads=[1] * 4)
            x = norm(x, f"blocks.{i}.norm")
        x = graph("Conv", x, weights["out.weight"], weights["out.bias"], kernel_shape=[3, 3], pads=[1] * 4)
        return graph(
            "Sigmoid", graph("Mul", x, np.float32(2))
        )  # (tanh(x) + 1) / 2, which OpenCV makes NaN if x is large

    @override
    def condition(self, graph: Graph, noise: Value, labels: Value) -> Value:
        start, stop = ints(self.classes), ints(self.config.noise)
        rest = graph("Slice", noise, start, stop, ints(1))
        # Not OneHot: onnxruntime crashes on an empty batch with a floating point exception (seen in 1.20 to 1.26).
        hot = graph("Equal", graph("Unsqueeze", labels, ints(1)), np.arange(self.classes, dtype=np.int64))
        return graph("Concat", graph("Cast", hot, to=FLOAT), rest, axis=1)


GRAPH = GeneratorGraph

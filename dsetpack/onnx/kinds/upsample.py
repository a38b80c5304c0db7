"""``upsample``: cut a source into f×f patches and enlarge each bilinearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from dsetpack.formats.kinds.upsample import UpsampleConfig
from dsetpack.onnx.graph import Graph, Value, ints
from dsetpack.onnx.kinds.base import DecoderGraph, Weights

PADDING = 0.5


class UpsampleGraph(DecoderGraph):
    """The patch of each pair, then two matrix products: one enlarges its rows, the other its columns."""

    config: UpsampleConfig

    @override
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        assert decoder_ids is not None  # there are at least four
        return enlarge(graph, self.config, self.image, sources, decoder_ids)


def enlarge(graph: Graph, config: UpsampleConfig, image: tuple[int, int, int], sources: Value, patch: Value) -> Value:
    """Enlarge one patch, int64 [N], of each of the sources [N, C, H, W] to the size of a source."""
    (channels, height, width), f = image, config.factor
    h, w = config.patch_size(image)
    if f * h > height or f * w > width:
        after = ints(0, 0, 0, 0, 0, 0, f * h - height, f * w - width)
        sources = graph("Pad", sources, after, np.float32(PADDING))
    grid = graph("Transpose", graph("Reshape", sources, ints(0, channels, f, h, f, w)), perm=[0, 2, 4, 1, 3, 5])
    patches = graph("Reshape", grid, ints(0, f * f, channels, h, w))
    chosen = graph("GatherND", patches, graph("Unsqueeze", patch, ints(1)), batch_dims=1)
    wide = graph("MatMul", chosen, bilinear(w, width, config.align_corners).T)
    # A convolution with rows as channels is the product from the left; onnxruntime's MatMul refuses an empty batch.
    rows = graph("Reshape", wide, ints(-1, h, width))
    tall = graph("Conv", rows, bilinear(h, height, config.align_corners)[:, :, None], kernel_shape=[1])
    return graph("Reshape", tall, ints(-1, channels, height, width))


def bilinear(patch: int, side: int, align_corners: bool) -> NDArray[np.float32]:
    """The matrix [side, patch] that enlarges a line of pixels (SPEC.md, 5.1)."""
    if align_corners:
        at = np.arange(side) * ((patch - 1) / max(side - 1, 1))
    else:
        at = np.maximum((np.arange(side) + 0.5) * (patch / side) - 0.5, 0)
    left = np.minimum(np.floor(at).astype(np.int64), patch - 1)
    right, share = np.minimum(left + 1, patch - 1), at - left
    matrix = np.zeros((side, patch))
    np.add.at(matrix, (np.arange(side), left), 1 - share)
    np.add.at(matrix, (np.arange(side), right), share)
    return matrix.astype(np.float32)


GRAPH = UpsampleGraph

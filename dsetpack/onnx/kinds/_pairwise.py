"""Convolutions whose weights differ from pair to pair, in operators that every engine has.

Each is one batched matrix product with the pairs' own weights. Before it, an ordinary convolution puts the pixels that
each tap sees into channels; after it, a transposed one adds up what the taps give to each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsetpack.onnx.graph import Graph, Value, ints


@dataclass(frozen=True)
class Pairwise:
    """The shapes of a convolution with a kernel of its own for each pair.

    Attributes:
        inward, outward: channels of input and output.
        before, after: (height, width) of input and output.
        kernel, stride, padding: of both axes.
    """

    inward: int
    outward: int
    before: tuple[int, int]
    after: tuple[int, int]
    kernel: int
    stride: int
    padding: int

    def conv(self, graph: Graph, x: Value, weight: Value, bias: Value) -> Value:
        """Convolve x [N, inward, *before] with weight [N, outward, inward, k, k] and bias [N, outward]."""
        taps, seen = self.kernel**2, []
        pad = self.padding
        padded = graph("Pad", x, ints(0, 0, pad, pad, 0, 0, pad, pad)) if pad else x
        reach = [self.stride * (side - 1) + 1 for side in self.after]
        for top in range(self.kernel):
            for left in range(self.kernel):
                start, stop = ints(top, left), ints(top + reach[0], left + reach[1])
                seen.append(graph("Slice", padded, start, stop, ints(2, 3), ints(self.stride, self.stride)))
        pixels = graph("Reshape", graph("Concat", *seen, axis=1), ints(-1, taps * self.inward, self._pixels()))
        kernels = graph("Transpose", weight, perm=[0, 1, 3, 4, 2])
        kernels = graph("Reshape", kernels, ints(-1, self.outward, taps * self.inward))
        y = graph("Add", graph("MatMul", kernels, pixels), graph("Reshape", bias, ints(-1, self.outward, 1)))
        return graph("Reshape", y, ints(-1, self.outward, *self.after))

    def transposed(self, graph: Graph, x: Value, weight: Value, bias: Value) -> Value:
        """The transposed convolution of x [N, inward, *before] with weight [N, inward, outward, k, k] and bias."""
        taps, k = self.kernel**2, self.kernel
        height, width = self.before
        kernels = graph("Reshape", weight, ints(-1, self.inward, self.outward * taps))
        kernels = graph("Transpose", kernels, perm=[0, 2, 1])
        given = graph("MatMul", kernels, graph("Reshape", x, ints(-1, self.inward, height * width)))
        given = graph("Reshape", given, ints(-1, self.outward * taps, height, width))
        bias = graph("Reshape", bias, ints(-1, self.outward, 1, 1))
        if k == self.stride:  # the taps do not overlap
            return graph("Add", graph("DepthToSpace", given, blocksize=k, mode="CRD"), bias)
        # Dense, not in groups: onnx's reference evaluator fails on groups of transposed convolutions.
        each = np.zeros((self.outward, taps, self.outward, k, k), np.float32)
        for channel in range(self.outward):
            each[channel, :, channel] = np.eye(taps).reshape(taps, k, k)
        kernel = each.reshape(self.outward * taps, self.outward, k, k)
        surplus = [
            out - (self.stride * (side - 1) + k - 2 * self.padding)
            for out, side in zip(self.after, self.before, strict=True)
        ]
        y = graph("ConvTranspose", given, kernel, kernel_shape=[k, k], strides=[self.stride] * 2,
                  pads=[self.padding] * 4, output_padding=surplus)  # fmt: skip
        return graph("Add", y, bias)

    def _pixels(self) -> int:
        return self.after[0] * self.after[1]

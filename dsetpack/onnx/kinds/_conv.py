"""Convolutions of a bank with few output channels, in a form that CPUs run about 1.7 times faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsetpack.onnx.graph import Graph, Value, ints

VECTOR = 16  # floats in the vector registers in which the CPU's convolutions compute output channels
LONGEST = 8  # rows of a strip
KERNEL = 3


@dataclass(frozen=True)
class Strips:
    """A 3×3 convolution of stride 1 whose output has these channels, height and width.

    Strips of ``rows`` output rows are computed as channels: the kernel is tall enough for a strip, and there is one
    copy of it for each row of the strip.
    """

    channels: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        """The number of rows in a strip; 1 if no larger number fits."""
        longest = min(LONGEST, VECTOR // self.channels)
        return next((rows for rows in range(longest, 1, -1) if self.height % rows == 0), 1)

    def weights(self, graph: Graph, weight: Value, bias: Value, inward: int) -> tuple[Value, Value]:
        """Convert weights [D, out, in, 3, 3] and biases [D, out] of a bank for ``run``."""
        rows, tall = self.rows, KERNEL + self.rows - 1
        if rows == 1:
            return weight, bias
        placed = np.stack([np.eye(tall, KERNEL, -row, np.float32) for row in range(rows)])
        weight = graph("MatMul", placed.reshape(rows * tall, KERNEL), weight)  # exact: ones and zeros
        weight = graph("Reshape", weight, ints(0, self.channels, inward, rows, tall, KERNEL))
        weight = graph("Transpose", weight, perm=[0, 1, 3, 2, 4, 5])
        weight = graph("Reshape", weight, ints(0, self.channels * rows, inward, tall, KERNEL))
        return weight, graph("Gather", bias, np.arange(self.channels).repeat(rows).astype(np.int32), axis=1)

    def run(self, graph: Graph, x: Value, weight: Value, bias: Value, padding: int) -> Value:
        """Add the convolution of one network: [N, out, height, width]."""
        rows = self.rows
        kernel = [KERNEL + rows - 1, KERNEL]
        y = graph("Conv", x, weight, bias, kernel_shape=kernel, strides=[rows, 1], pads=[padding] * 4)
        if rows == 1:
            return y
        y = graph("Reshape", y, ints(0, self.channels, rows, self.height // rows, self.width))
        y = graph("Transpose", y, perm=[0, 1, 3, 2, 4])
        return graph("Reshape", y, ints(0, self.channels, self.height, self.width))

"""The interface of the ONNX form of every decoder kind.

If decoders have weights of their own, the pairs come sorted by decoder, and each decoder runs once, on its own pairs.
Measured in onnxruntime on a batch of 256 pairs, that is faster than running all decoders side by side and choosing
afterwards, and twice as fast as gathering weights for each pair. A decoder without pairs runs on zero rows, which is
free. But the sizes of the runs depend on values, which some engines cannot compile: so the portable form gathers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dsetpack.formats.kinds import KindConfig
from dsetpack.onnx.graph import Graph, Value

Weights = Mapping[str, Value]
"""A bank's tensors by role, as float32 values of the graph."""


class DecoderGraph(ABC):
    """The decoders of one part, or of several parts that share them.

    Attributes:
        networks: the number of networks with weights of their own; if there are several, pairs come sorted by network.
            1 in the portable form.
    """

    config: KindConfig
    networks: int = 1

    def __init__(self, config: KindConfig, image: tuple[int, int, int], classes: int, portable: bool) -> None:
        self.config, self.image, self.classes, self.portable = config, image, classes, portable

    def network(self, graph: Graph, decoder_ids: Value) -> Value:  # noqa: ARG002
        """The network of each decoder_id, int64 [N]."""
        return decoder_ids

    @abstractmethod
    def decode(
        self, graph: Graph, weights: Weights, sources: Value, decoder_ids: Value | None, sizes: Value | None
    ) -> Value:
        """Decode pairs into images [N, C, H, W].

        Args:
            graph: the graph to which nodes are added.
            weights: the bank.
            sources: float32 [N, ...].
            decoder_ids: int64 [N]; None if there is only one decoder.
            sizes: int64 [networks], the number of pairs of each network, in order; None if there is only one network.
        """

    def condition(self, graph: Graph, noise: Value, labels: Value) -> Value:
        """Make sources from noise [N, z] and labels int64 [N]; only for kinds whose sources are drawn."""
        raise NotImplementedError


def by_network(
    graph: Graph,
    weights: Sequence[Value],
    sources: Value,
    sizes: Value | None,
    networks: int,
    run: Callable[[Graph, Value, list[Value]], Value],
) -> Value:
    """Run each network on its own sources, which are consecutive.

    Args:
        graph: the graph to which nodes are added.
        weights: [networks, ...] each.
        sources, sizes: as in ``DecoderGraph.decode``.
        networks: the number of networks.
        run: adds one network, given a graph, its sources and its weights without their first axis.
    """
    if sizes is None:
        return run(graph, sources, [graph("Gather", weight, np.int64(0)) for weight in weights])
    runs = graph.several("Split", networks, sources, sizes, axis=0)
    of_each = [[graph("Gather", weight, np.int64(k)) for weight in weights] for k in range(networks)]
    return graph("Concat", *(run(graph, x, own) for x, own in zip(runs, of_each, strict=True)), axis=0)

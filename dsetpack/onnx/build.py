"""The graph of a pack, or of its bank alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from dsetpack.formats import PartEntry, Reader
from dsetpack.formats.card import Card
from dsetpack.formats.kinds import KindConfig
from dsetpack.formats.parts import part_config, part_size
from dsetpack.onnx import kinds
from dsetpack.onnx.graph import FLOAT, INT64, Graph, Value, info, ints
from dsetpack.onnx.kinds.base import DecoderGraph, Weights
from dsetpack.onnx.routing import Routing, Share
from dsetpack.onnx.spaces import SpaceGraph
from dsetpack.onnx.tensors import GraphTensor, graph_tensor

SOURCE_ROLES = ("sources", "labels")


@dataclass(frozen=True)
class ExportedPart:
    """A part of the pack.

    Attributes:
        number, entry, config: the part's number, its entry in the manifest, and the settings of its kind.
        first, last: the part's pairs are first..last-1.
        slots: the number of slots of each source.
    """

    number: int
    entry: PartEntry
    config: KindConfig
    first: int
    last: int
    slots: int


@dataclass(frozen=True)
class _Pairs:
    """The pairs of one part: which of the batch they are (None: all, in order), their ids, and their labels."""

    pairs: Value | None
    source_ids: Value
    decoder_ids: Value | None
    label: Value


class Builder:
    """A builder of the graph of one model.

    Attributes:
        graph: the graph that is built.
        parts: the parts.
    """

    def __init__(self, reader: Reader, card: Card, space: SpaceGraph, routing: Routing) -> None:
        self.graph, self.parts = Graph(), list[ExportedPart]()
        self._reader, self._card, self._space, self._routing = reader, card, space, routing
        self._tensors: dict[str, GraphTensor] = {}
        self._pair_ids: Value = "index"
        first = 0
        for number, entry in enumerate(reader.manifest.parts):
            sources, slots = part_size(entry, card)
            last = first + sources * slots
            self.parts.append(ExportedPart(number, entry, part_config(entry), first, last, slots))
            first = last

    def noise(self) -> int | None:
        """The length of the longest noise that a part takes; the other parts take its beginning."""
        sizes = [p.config.source_shape(self._card.shape)[0] for p in self.parts if not p.config.has_sources]
        return max(sizes, default=None)

    def groups(self) -> list[list[ExportedPart]]:
        """Parts that share a bank."""
        groups: dict[Any, list[ExportedPart]] = {}
        for part in self.parts:
            bank = tuple(sorted((r, t) for r, t in part.entry.tensors.items() if r not in SOURCE_ROLES))
            groups.setdefault((part.entry.kind, repr(part.config), bank), []).append(part)
        return list(groups.values())

    def decoder(self, space: str) -> list[onnx.ValueInfoProto]:
        """Build the graph of a bank alone, and return its inputs."""
        graph, part = self.graph, self.parts[0]
        ids: Value | None = None
        if (count := part.config.bank_size()) > 1:
            ids = self._routing.inside(graph, "decoder", count)
        image = self._decoded(part, Share("source", None), ids)
        graph.alias(
            self._routing.ordered(graph, Share(self._in_space(part.config, image.value, space), image.pairs)), "image"
        )
        return [info("source", FLOAT, *part.config.source_shape(self._card.shape)), info("decoder", INT64)]

    def pack(self, space: str, hard: int) -> list[onnx.ValueInfoProto]:
        """Build the graph of the pack, whose hard labels have the ONNX type ``hard``, and return its inputs."""
        graph, routing = self.graph, self._routing
        self._pair_ids = routing.inside(graph, "index", self.parts[-1].last)
        labels, images = list[Share](), list[Share]()
        for group in self.groups():
            own = [self._pairs(part) for part in group]
            labels += [Share(pairs.label, pairs.pairs) for pairs in own]
            image = self._images(group, own)
            images.append(Share(self._in_space(group[0].config, image.value, space), image.pairs))
        rank = 1 if self._card.labels.kind == "hard" else 2
        graph.alias(routing.ordered(graph, routing.together(graph, images, 4)), "image")
        label = routing.ordered(graph, routing.together(graph, labels, rank))
        graph.alias(label if rank == 2 or hard == INT64 else graph("Cast", label, to=hard), "label")
        noise = self.noise()
        return [info("index", INT64)] + ([] if noise is None else [info("noise", FLOAT, noise)])

    def _pairs(self, part: ExportedPart) -> _Pairs:
        """The pairs of the batch that belong to a part, with their ids and labels."""
        graph, pairs = self.graph, self._own(part)
        pair_ids = self._routing.take(graph, self._pair_ids, pairs)
        pair_ids = graph("Sub", pair_ids, np.int64(part.first)) if part.first else pair_ids  # counted inside the part
        if pairs is not None:
            pair_ids = self._routing.within(graph, pair_ids, part.last - part.first)
        source_ids = graph("Div", pair_ids, np.int64(part.slots)) if part.slots > 1 else pair_ids
        slot_ids = graph("Mod", pair_ids, np.int64(part.slots)) if part.slots > 1 else None
        label = self._label(part, source_ids)
        lists, size = part.entry.class_decoders, part.config.bank_size()
        if lists is None or size == 1:
            return _Pairs(pairs, source_ids, slot_ids, label)
        flat_slot_ids = graph("Mul", label, np.int64(part.slots))
        flat_slot_ids = flat_slot_ids if slot_ids is None else graph("Add", flat_slot_ids, slot_ids)
        allowed = np.array(lists, np.min_scalar_type(size - 1)).reshape(-1)
        decoder_ids = graph("Cast", graph("Gather", allowed, flat_slot_ids), to=INT64)
        return _Pairs(pairs, source_ids, decoder_ids, label)

    def _own(self, part: ExportedPart) -> Value | None:
        """The pairs of the batch that belong to a part; None for all."""
        graph, tests = self.graph, []
        if part is not self.parts[0]:
            tests.append(graph("GreaterOrEqual", self._pair_ids, np.int64(part.first)))
        if part is not self.parts[-1]:
            tests.append(graph("Less", self._pair_ids, np.int64(part.last)))
        if not tests:
            return None
        return self._routing.pairs(graph, tests[0] if len(tests) == 1 else graph("And", *tests))

    def _label(self, part: ExportedPart, source_ids: Value) -> Value:
        if not part.config.has_sources:
            count = self._card.per_class or 1
            return self.graph("Div", source_ids, np.int64(count)) if count > 1 else source_ids
        label = self._tensor(part, "labels").take(self.graph, source_ids)
        hard = self._card.labels.kind == "hard"
        return self.graph("Cast", label, to=INT64) if hard else label

    def _images(self, group: Sequence[ExportedPart], own: Sequence[_Pairs]) -> Share:
        """Images of the pairs of parts that share a bank."""
        graph, routing, part = self.graph, self._routing, group[0]
        if len(group) == 1 and own[0].decoder_ids and part.config.has_sources and self._bank(part).networks > 1:
            # Sort the source_ids: that is cheaper than to sort the sources.
            ids = Share(own[0].source_ids, own[0].pairs)
            return self._decoded(part, ids, own[0].decoder_ids, self._tensor(part, "sources"))
        bank = self._bank(part)
        sources = [Share(self._sources(p, pairs, bank), pairs.pairs) for p, pairs in zip(group, own, strict=True)]
        decoder_ids = None
        if own[0].decoder_ids:
            of_each = [Share(pairs.decoder_ids, pairs.pairs) for pairs in own if pairs.decoder_ids]
            decoder_ids = routing.together(graph, of_each, 1).value
        rank = 1 + len(part.config.source_shape(self._card.shape))
        return self._decoded(part, routing.together(graph, sources, rank), decoder_ids)

    def _decoded(
        self, part: ExportedPart, sources: Share, decoder_ids: Value | None, table: GraphTensor | None = None
    ) -> Share:
        """Images of sources, or of the source_ids of a ``table``, sorted by network if the bank has several."""
        graph, bank, pairs, value, sizes = self.graph, self._bank(part), sources.pairs, sources.value, None
        if bank.networks > 1 and decoder_ids is not None:
            order, sizes = _sorted(graph, bank, decoder_ids)
            value, decoder_ids = graph("Gather", value, order), graph("Gather", decoder_ids, order)
            pairs = order if pairs is None else graph("Gather", pairs, order)
        value = value if table is None else table.take(graph, value)
        return Share(bank.decode(graph, self._weights(part), value, decoder_ids, sizes), pairs)

    def _sources(self, part: ExportedPart, own: _Pairs, bank: DecoderGraph) -> Value:
        if part.config.has_sources:
            return self._tensor(part, "sources").take(self.graph, own.source_ids)
        graph, size = self.graph, part.config.source_shape(self._card.shape)[0]
        noise = self._routing.take(graph, "noise", own.pairs)
        if size != self.noise():
            noise = graph("Slice", noise, ints(0), ints(size), ints(1))
        return bank.condition(graph, noise, own.label)

    def _bank(self, part: ExportedPart) -> DecoderGraph:
        classes, portable = len(self._card.classes), self._routing.portable
        return kinds.decoder_graph(part.entry.kind, part.config, self._card.shape, classes, portable)

    def _in_space(self, config: KindConfig, image: Value, space: str) -> Value:
        """Map the decoder's images to the space that is asked for."""
        if config.yields == space or (config.yields == "space" and space == "pack"):
            return image
        return self._space.apply(self.graph, image) if config.yields == "raw" else self._space.invert(self.graph, image)

    def _weights(self, part: ExportedPart) -> Weights:
        roles = [role for role in part.entry.tensors if role not in SOURCE_ROLES]
        return {role: self._tensor(part, role).whole(self.graph) for role in roles}

    def _tensor(self, part: ExportedPart, role: str) -> GraphTensor:
        """Add to the graph the tensor with a role in a part; its values are checked against the card."""
        name = part.entry.tensors[role]
        if name not in self._tensors:
            self._reader.role(part.number, role)
            self._tensors[name] = graph_tensor(self._reader, name)
            self._tensors[name].add(self.graph)
        return self._tensors[name]


def _sorted(graph: Graph, bank: DecoderGraph, decoder_ids: Value) -> tuple[Value, Value]:
    """The order that sorts pairs by network (stable), and the number of pairs of each network."""
    network = bank.network(graph, decoder_ids)
    table = graph("Equal", graph("Unsqueeze", network, ints(0)), np.arange(bank.networks, dtype=np.int64)[:, None])
    order = graph("Gather", graph("NonZero", table), np.int64(1))
    return order, graph("ReduceSum", graph("Cast", table, to=INT64), ints(1), keepdims=0)

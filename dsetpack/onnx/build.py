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
    """The pairs of one part: their positions in the batch (None: all, in order), their ids, and their labels."""

    positions: Value | None
    source_ids: Value
    decoder_ids: Value | None
    label: Value


class Builder:
    """A builder of the graph of one model.

    Attributes:
        graph: the graph that is built.
        parts: the parts.
    """

    def __init__(self, reader: Reader, card: Card, space: SpaceGraph) -> None:
        self.graph, self.parts = Graph(), list[ExportedPart]()
        self._reader, self._card, self._space = reader, card, space
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
        bank = kinds.decoder_graph(part.entry.kind, part.config, self._card.shape, len(self._card.classes))
        decoder_ids = self._decoder_ids(part.config.bank_size())
        sizes = order = None
        sources: Value = "source"
        if bank.networks > 1 and decoder_ids is not None:
            order, sizes = _sorted(graph, bank, decoder_ids)
            sources, decoder_ids = graph("Gather", sources, order), graph("Gather", decoder_ids, order)
        image = bank.decode(graph, self._weights(part), sources, decoder_ids, sizes)
        image = self._in_space(part.config, image, space)
        graph.alias(image if order is None else graph("Gather", image, _inverse(graph, order)), "image")
        return [info("source", FLOAT, *part.config.source_shape(self._card.shape)), info("decoder", INT64)]

    def _decoder_ids(self, count: int) -> Value | None:
        """The checked decoder_ids: decoders that do not exist are refused; None if there is only one decoder."""
        if count == 1:
            return None
        return self.graph("Gather", _range(self.graph, count), _not_negative(self.graph, "decoder", count))

    def pack(self, space: str) -> list[onnx.ValueInfoProto]:
        """Build the graph of the pack, and return its inputs."""
        graph = self.graph
        self._pair_ids = _not_negative(graph, "index", self.parts[-1].last)
        image_positions: list[Value] = []
        images: list[Value] = []
        labels: list[tuple[Value | None, Value]] = []
        for group in self.groups():
            pairs = [self._pairs(part) for part in group]
            labels += [(p.positions, p.label) for p in pairs]
            positions, image = self._images(group, pairs)
            images.append(self._in_space(group[0].config, image, space))
            image_positions += [] if positions is None else [positions]
        image, label = _together(graph, images), _together(graph, [value for _, value in labels])
        if image_positions:
            image = graph("Gather", image, _inverse(graph, _together(graph, image_positions)))
        if label_positions := [positions for positions, _ in labels if positions is not None]:
            label = graph("Gather", label, _inverse(graph, _together(graph, label_positions)))
        graph.alias(image, "image")
        graph.alias(label, "label")
        noise = self.noise()
        return [info("index", INT64)] + ([] if noise is None else [info("noise", FLOAT, noise)])

    def _pairs(self, part: ExportedPart) -> _Pairs:
        """The pairs of the batch that belong to a part, with their ids and labels."""
        graph, positions = self.graph, self._positions(part)
        pair_ids = self._pair_ids if positions is None else graph("Gather", self._pair_ids, positions)
        pair_ids = graph("Sub", pair_ids, np.int64(part.first)) if part.first else pair_ids  # counted inside the part
        source_ids = graph("Div", pair_ids, np.int64(part.slots)) if part.slots > 1 else pair_ids
        slot_ids = graph("Mod", pair_ids, np.int64(part.slots)) if part.slots > 1 else None
        label = self._label(part, source_ids)
        lists, size = part.entry.class_decoders, part.config.bank_size()
        if lists is None or size == 1:
            return _Pairs(positions, source_ids, slot_ids, label)
        flat_slot_ids = graph("Mul", label, np.int64(part.slots))
        flat_slot_ids = flat_slot_ids if slot_ids is None else graph("Add", flat_slot_ids, slot_ids)
        allowed = np.array(lists, np.min_scalar_type(size - 1)).reshape(-1)
        decoder_ids = graph("Cast", graph("Gather", allowed, flat_slot_ids), to=INT64)
        return _Pairs(positions, source_ids, decoder_ids, label)

    def _positions(self, part: ExportedPart) -> Value | None:
        """The positions of a part's pairs in the batch; the last part takes (and refuses) ids that are too large."""
        graph, tests = self.graph, []
        if part is not self.parts[0]:
            tests.append(graph("GreaterOrEqual", self._pair_ids, np.int64(part.first)))
        if part is not self.parts[-1]:
            tests.append(graph("Less", self._pair_ids, np.int64(part.last)))
        if not tests:
            return None
        inside = tests[0] if len(tests) == 1 else graph("And", *tests)
        return graph("Squeeze", graph("NonZero", inside), ints(0))

    def _label(self, part: ExportedPart, source_ids: Value) -> Value:
        if not part.config.has_sources:
            count = self._card.per_class or 1
            of_each = self.graph("Div", source_ids, np.int64(count)) if count > 1 else source_ids
            # Gather refuses numbers that are too large.
            return self.graph("Gather", _range(self.graph, len(self._card.classes)), of_each)
        label = self._tensor(part, "labels").take(self.graph, source_ids)
        hard = self._card.labels.kind == "hard"
        return self.graph("Cast", label, to=INT64) if hard else label

    def _images(self, group: Sequence[ExportedPart], pairs: Sequence[_Pairs]) -> tuple[Value | None, Value]:
        """Images of the pairs of parts that share a bank, and their positions in the batch (None: all, in order)."""
        graph, part = self.graph, group[0]
        bank = kinds.decoder_graph(part.entry.kind, part.config, self._card.shape, len(self._card.classes))
        weights = self._weights(part)
        if bank.networks == 1 or pairs[0].decoder_ids is None:
            positions = None
            if pairs[0].positions is not None:
                positions = _together(graph, [p.positions for p in pairs if p.positions])
            of_each = [p.decoder_ids for p in pairs if p.decoder_ids]
            decoder_ids: Value | None = _together(graph, of_each) if of_each else None
            sources = _together(graph, [self._sources(own, p, bank) for own, p in zip(group, pairs, strict=True)])
            return positions, bank.decode(graph, weights, sources, decoder_ids, None)
        decoder_ids = _together(graph, [p.decoder_ids for p in pairs if p.decoder_ids])
        order, sizes = _sorted(graph, bank, decoder_ids)
        if len(pairs) == 1:  # sort the source_ids: cheaper than sorting the sources
            only = pairs[0]
            source_ids = graph("Gather", only.source_ids, order)
            sources = self._sources(part, _Pairs(None, source_ids, None, only.label), bank)
        else:
            unsorted = _together(graph, [self._sources(own, p, bank) for own, p in zip(group, pairs, strict=True)])
            sources = graph("Gather", unsorted, order)
        image = bank.decode(graph, weights, sources, graph("Gather", decoder_ids, order), sizes)
        if pairs[0].positions is None:
            return order, image
        return graph("Gather", _together(graph, [p.positions for p in pairs if p.positions]), order), image

    def _sources(self, part: ExportedPart, pairs: _Pairs, bank: DecoderGraph) -> Value:
        if part.config.has_sources:
            return self._tensor(part, "sources").take(self.graph, pairs.source_ids)
        graph, noise, size = self.graph, "noise", part.config.source_shape(self._card.shape)[0]
        if pairs.positions is not None:
            noise = graph("Gather", noise, pairs.positions)
        if size != self.noise():
            noise = graph("Slice", noise, ints(0), ints(size), ints(1))
        return bank.condition(graph, noise, pairs.label)

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


def _range(graph: Graph, stop: Value | int) -> Value:
    """0..stop-1 as int64."""
    return graph("Range", np.int64(0), stop if isinstance(stop, str) else np.int64(stop), np.int64(1))


def _not_negative(graph: Graph, numbers: Value, count: int) -> Value:
    """Replace negative numbers by ``count``: ``Gather`` would count them from the end, and so it refuses them."""
    return graph("Where", graph("Less", numbers, np.int64(0)), np.int64(count), numbers)


def _together(graph: Graph, values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else graph("Concat", *values, axis=0)


def _sorted(graph: Graph, bank: DecoderGraph, decoder_ids: Value) -> tuple[Value, Value]:
    """The order that sorts pairs by network (stable), and the number of pairs of each network."""
    network = bank.network(graph, decoder_ids)
    table = graph(
        "Equal", graph("Unsqueeze", network, ints(0)), graph("Unsqueeze", _range(graph, bank.networks), ints(1))
    )
    order = graph("Gather", graph("NonZero", table), np.int64(1))
    return order, graph("ReduceSum", graph("Cast", table, to=INT64), ints(1), keepdims=0)


def _inverse(graph: Graph, order: Value) -> Value:
    """The inverse of a permutation."""
    count = graph("Squeeze", graph("Shape", order), ints(0))
    return graph("ScatterElements", order, order, _range(graph, count))

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
from dsetpack.onnx.tensors import Stored, stored

SOURCE_ROLES = ("sources", "labels")


@dataclass(frozen=True)
class Entry:
    """A part of the pack.

    Attributes:
        number, part, config: the part's number, its entry in the manifest, and the settings of its kind.
        first, last: the part's pairs are first..last-1.
        slots: the number of slots of each source.
    """

    number: int
    part: PartEntry
    config: KindConfig
    first: int
    last: int
    slots: int


@dataclass(frozen=True)
class _Pairs:
    """The pairs of one part: their places in the batch (None: all, in order), and their rows, decoders and labels."""

    places: Value | None
    rows: Value
    decoder: Value | None
    label: Value


class Builder:
    """A builder of the graph of one model.

    Attributes:
        graph: the graph that is built.
        entries: the parts.
    """

    def __init__(self, reader: Reader, card: Card, space: SpaceGraph) -> None:
        self.graph, self.entries = Graph(), list[Entry]()
        self._reader, self._card, self._space = reader, card, space
        self._tensors: dict[str, Stored] = {}
        self._index: Value = "index"
        first = 0
        for number, part in enumerate(reader.manifest.parts):
            sources, slots = part_size(part, card)
            last = first + sources * slots
            self.entries.append(Entry(number, part, part_config(part), first, last, slots))
            first = last

    def noise(self) -> int | None:
        """The length of the longest noise that a part takes; the other parts take its beginning."""
        sizes = [e.config.source_shape(self._card.shape)[0] for e in self.entries if not e.config.has_sources]
        return max(sizes, default=None)

    def groups(self) -> list[list[Entry]]:
        """Parts that share a bank."""
        groups: dict[Any, list[Entry]] = {}
        for entry in self.entries:
            bank = tuple(sorted((r, t) for r, t in entry.part.tensors.items() if r not in SOURCE_ROLES))
            groups.setdefault((entry.part.kind, repr(entry.config), bank), []).append(entry)
        return list(groups.values())

    def decoder(self, space: str) -> list[onnx.ValueInfoProto]:
        """Build the graph of a bank alone, and return its inputs."""
        graph, entry = self.graph, self.entries[0]
        bank = kinds.decoder_graph(entry.part.kind, entry.config, self._card.shape, len(self._card.classes))
        decoder = self._decoder(entry.config.bank_size())
        sizes = places = None
        sources: Value = "source"
        if bank.networks > 1 and decoder is not None:
            places, sizes = _sorted(graph, bank, decoder)
            sources, decoder = graph("Gather", sources, places), graph("Gather", decoder, places)
        image = bank.decode(graph, self._weights(entry), sources, decoder, sizes)
        image = self._in_space(entry.config, image, space)
        graph.alias(image if places is None else graph("Gather", image, _inverse(graph, places)), "image")
        return [info("source", FLOAT, *entry.config.source_shape(self._card.shape)), info("decoder", INT64)]

    def _decoder(self, count: int) -> Value | None:
        """The checked decoder_ids: decoders that do not exist are refused; None if there is only one decoder."""
        if count == 1:
            return None
        return self.graph("Gather", _range(self.graph, count), _not_negative(self.graph, "decoder", count))

    def pack(self, space: str) -> list[onnx.ValueInfoProto]:
        """Build the graph of the pack, and return its inputs."""
        graph = self.graph
        self._index = _not_negative(graph, "index", self.entries[-1].last)
        places: list[Value] = []
        images: list[Value] = []
        labels: list[tuple[Value | None, Value]] = []
        for group in self.groups():
            pairs = [self._pairs(entry) for entry in group]
            labels += [(p.places, p.label) for p in pairs]
            where, image = self._images(group, pairs)
            images.append(self._in_space(group[0].config, image, space))
            places += [] if where is None else [where]
        image, label = _together(graph, images), _together(graph, [value for _, value in labels])
        if places:
            image = graph("Gather", image, _inverse(graph, _together(graph, places)))
        if of_parts := [where for where, _ in labels if where is not None]:
            label = graph("Gather", label, _inverse(graph, _together(graph, of_parts)))
        graph.alias(image, "image")
        graph.alias(label, "label")
        noise = self.noise()
        return [info("index", INT64)] + ([] if noise is None else [info("noise", FLOAT, noise)])

    def _pairs(self, entry: Entry) -> _Pairs:
        """The pairs of the batch that belong to a part, with their rows, decoders and labels."""
        graph, places = self.graph, self._places(entry)
        local = self._index if places is None else graph("Gather", self._index, places)
        local = graph("Sub", local, np.int64(entry.first)) if entry.first else local
        rows = graph("Div", local, np.int64(entry.slots)) if entry.slots > 1 else local
        slot = graph("Mod", local, np.int64(entry.slots)) if entry.slots > 1 else None
        label = self._label(entry, rows)
        lists, size = entry.part.class_decoders, entry.config.bank_size()
        if lists is None or size == 1:
            return _Pairs(places, rows, slot, label)
        place = graph("Mul", label, np.int64(entry.slots))
        place = place if slot is None else graph("Add", place, slot)
        allowed = np.array(lists, np.min_scalar_type(size - 1)).reshape(-1)
        return _Pairs(places, rows, graph("Cast", graph("Gather", allowed, place), to=INT64), label)

    def _places(self, entry: Entry) -> Value | None:
        """The places of a part's pairs in the batch; the last part takes (and refuses) numbers that are too large."""
        graph, tests = self.graph, []
        if entry is not self.entries[0]:
            tests.append(graph("GreaterOrEqual", self._index, np.int64(entry.first)))
        if entry is not self.entries[-1]:
            tests.append(graph("Less", self._index, np.int64(entry.last)))
        if not tests:
            return None
        inside = tests[0] if len(tests) == 1 else graph("And", *tests)
        return graph("Squeeze", graph("NonZero", inside), ints(0))

    def _label(self, entry: Entry, rows: Value) -> Value:
        if not entry.config.has_sources:
            count = self._card.per_class or 1
            of_each = self.graph("Div", rows, np.int64(count)) if count > 1 else rows
            # Gather refuses numbers that are too large.
            return self.graph("Gather", _range(self.graph, len(self._card.classes)), of_each)
        label = self._tensor(entry, "labels").take(self.graph, rows)
        hard = self._card.labels.kind == "hard"
        return self.graph("Cast", label, to=INT64) if hard else label

    def _images(self, group: Sequence[Entry], pairs: Sequence[_Pairs]) -> tuple[Value | None, Value]:
        """Images of the pairs of parts that share a bank, and their places in the batch (None: all, in order)."""
        graph, entry = self.graph, group[0]
        bank = kinds.decoder_graph(entry.part.kind, entry.config, self._card.shape, len(self._card.classes))
        weights = self._weights(entry)
        if bank.networks == 1 or pairs[0].decoder is None:
            where = None if pairs[0].places is None else _together(graph, [p.places for p in pairs if p.places])
            decoders = [p.decoder for p in pairs if p.decoder]
            decoder = _together(graph, decoders) if decoders else None
            sources = _together(graph, [self._sources(e, p, bank) for e, p in zip(group, pairs, strict=True)])
            return where, bank.decode(graph, weights, sources, decoder, None)
        decoder = _together(graph, [p.decoder for p in pairs if p.decoder])
        order, sizes = _sorted(graph, bank, decoder)
        if len(pairs) == 1:  # sort the row numbers: cheaper than sorting the sources
            only = pairs[0]
            rows = graph("Gather", only.rows, order)
            sources = self._sources(entry, _Pairs(None, rows, None, only.label), bank)
        else:
            unsorted = _together(graph, [self._sources(e, p, bank) for e, p in zip(group, pairs, strict=True)])
            sources = graph("Gather", unsorted, order)
        image = bank.decode(graph, weights, sources, graph("Gather", decoder, order), sizes)
        if pairs[0].places is None:
            return order, image
        return graph("Gather", _together(graph, [p.places for p in pairs if p.places]), order), image

    def _sources(self, entry: Entry, pairs: _Pairs, bank: DecoderGraph) -> Value:
        if entry.config.has_sources:
            return self._tensor(entry, "sources").take(self.graph, pairs.rows)
        graph, noise, size = self.graph, "noise", entry.config.source_shape(self._card.shape)[0]
        if pairs.places is not None:
            noise = graph("Gather", noise, pairs.places)
        if size != self.noise():
            noise = graph("Slice", noise, ints(0), ints(size), ints(1))
        return bank.label_noise(graph, noise, pairs.label)

    def _in_space(self, config: KindConfig, image: Value, space: str) -> Value:
        """Map the decoder's images to the space that is asked for."""
        if config.yields == space or (config.yields == "space" and space == "pack"):
            return image
        return self._space.apply(self.graph, image) if config.yields == "raw" else self._space.invert(self.graph, image)

    def _weights(self, entry: Entry) -> Weights:
        roles = [role for role in entry.part.tensors if role not in SOURCE_ROLES]
        return {role: self._tensor(entry, role).whole(self.graph) for role in roles}

    def _tensor(self, entry: Entry, role: str) -> Stored:
        """Add to the graph the tensor with a role in a part; its values are checked against the card."""
        name = entry.part.tensors[role]
        if name not in self._tensors:
            self._reader.role(entry.number, role)
            self._tensors[name] = stored(self._reader, name)
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


def _sorted(graph: Graph, bank: DecoderGraph, decoder: Value) -> tuple[Value, Value]:
    """The order that sorts pairs by network (stable), and the number of pairs of each network."""
    network = bank.network(graph, decoder)
    table = graph(
        "Equal", graph("Unsqueeze", network, ints(0)), graph("Unsqueeze", _range(graph, bank.networks), ints(1))
    )
    order = graph("Gather", graph("NonZero", table), np.int64(1))
    return order, graph("ReduceSum", graph("Cast", table, to=INT64), ints(1), keepdims=0)


def _inverse(graph: Graph, order: Value) -> Value:
    """The inverse of a permutation."""
    count = graph("Squeeze", graph("Shape", order), ints(0))
    return graph("ScatterElements", order, order, _range(graph, count))

"""The cost of a memory: the bytes of its file, counted without writing it.

Each part's sources and labels are datasets of their own, so their bytes add up. They are measured once, when the part
is added. A part that loses sources later counts in proportion (right within a few percent, since sources compress
differently well; ``save`` measures again). A bank counts once, however many parts share it. The rest, which is the
manifest and the file's structure, is measured on a file of the same parts with one source each and empty banks.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dsetpack.decoders import Decoder
from dsetpack.formats import Manifest, Reader, encode
from dsetpack.formats.header import user_block_size
from dsetpack.formats.manifest import compress
from dsetpack.formats.presets import EncodingChoice
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.pack.stored import to_file

CHUNK = 80
"""Bytes that each further chunk of a dataset costs in the manifest and the file's structure."""
NUMBERS = 16
"""Bytes per part by which larger numbers may lengthen the compressed manifest."""
DIGEST = re.compile(rb"\b[0-9a-f]{64}\b")
OWN = ("sources", "labels")
"""The roles that have datasets of their own."""


@dataclass(frozen=True)
class Size:
    """Stored bytes of a part's sources and labels, measured for this number of sources."""

    sources: int
    stored: int

    @property
    def each(self) -> float:
        """Bytes of one source with its label."""
        return self.stored / self.sources

    def of(self, sources: int) -> int:
        """Bytes of a number of sources with their labels."""
        return math.ceil(self.stored * sources / self.sources)


@dataclass(frozen=True)
class Sizes:
    """The stored bytes of a pack's file: of its parts, its banks in the order of ``distinct``, and its pixel space."""

    parts: tuple[Size, ...]
    banks: tuple[int, ...]
    space: int


def distinct(parts: Sequence[Part]) -> list[Decoder]:
    """The decoders of the parts, each listed once, in order."""
    return list({id(part.decoder): part.decoder for part in parts}.values())


def measure(pack: Pack, data: bytes) -> Sizes:
    """Measure the sizes in a pack's file, whose bytes are ``data``."""
    with Reader(data) as reader:
        manifest = reader.manifest
    parts = tuple(_part(manifest, number) for number in range(len(manifest.parts)))
    space = sum(manifest.stored_bytes(name) for name in pack.space.tensors())
    rest = _payload(manifest) - sum(_own(manifest, number) for number in range(len(parts))) - space
    elements = [sum(t.numel() for t in bank.state_dict().values()) for bank in distinct(pack.parts)]
    banks = tuple(math.ceil(rest * count / max(1, sum(elements))) for count in elements)
    return Sizes(parts, banks, space)


def overhead(pack: Pack, encoding: EncodingChoice) -> int:
    """Count the bytes of a pack's file besides stored values, in time that does not grow with the number of sources."""
    small = Pack(pack.card, [part.take(torch.zeros(1, dtype=torch.int64)) for part in pack.parts], pack.space)
    card, entries, tensors = to_file(small.card, small.parts, small.space)
    kept = {name for entry in entries for role, name in entry.tensors.items() if role in OWN}
    tensors = {name: values if name in kept else np.zeros_like(values) for name, values in tensors.items()}
    data = encode(card, entries, tensors, encoding)
    with Reader(data) as reader:
        block, manifest = reader.header.user_block, reader.manifest
    # The manifest's room is a power of two: count the next one if the whole file may need it.
    room = user_block_size(_frame(manifest) + NUMBERS * (1 + len(entries)))
    return len(data) - _payload(manifest) - block + room


def _frame(manifest: Manifest) -> int:
    """The length of the compressed manifest if no two chunks are equal: equal digests would compress to nothing."""
    numbers = itertools.count()
    plain = DIGEST.sub(lambda _: hashlib.sha256(b"%d" % next(numbers)).hexdigest().encode(), manifest.dump())
    return len(compress(plain))


def _part(manifest: Manifest, number: int) -> Size:
    tensors = manifest.parts[number].tensors
    datasets = [manifest.datasets[str(manifest.tensors[tensors[role]].dataset)] for role in OWN]
    further = sum(len(dataset.chunks) - 1 for dataset in datasets)
    return Size(manifest.parts[number].sources, _own(manifest, number) + CHUNK * further)


def _own(manifest: Manifest, number: int) -> int:
    return sum(manifest.stored_bytes(manifest.parts[number].tensors[role]) for role in OWN)


def _payload(manifest: Manifest) -> int:
    return sum(dataset.stored_bytes for dataset in manifest.datasets.values())

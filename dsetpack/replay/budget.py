"""What a memory costs: the bytes of its file, counted without writing it.

Each part's sources and labels are datasets of their own, so their bytes add up; they are measured once, when the part
comes in, and a part that loses sources later counts in proportion (within a few percent, since sources differ in how
well they compress; ``save`` measures again). A bank counts once, however many parts share it. All the rest, the
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
from dsetpack.pack.stored import stored

CHUNK = 80
"""Bytes that a further chunk of a dataset costs in manifest and structure."""
NUMBERS = 16
"""Bytes a part by which larger numbers may lengthen the compressed manifest."""
DIGEST = re.compile(rb"\b[0-9a-f]{64}\b")
OWN = ("sources", "labels")
"""The roles that have datasets of their own."""


@dataclass(frozen=True)
class Size:
    """Stored bytes of a part's sources and labels, measured for so many sources."""

    sources: int
    stored: int

    @property
    def each(self) -> float:
        """Bytes of one source with its label."""
        return self.stored / self.sources

    def of(self, sources: int) -> int:
        """Bytes of so many of them."""
        return math.ceil(self.stored * sources / self.sources)


@dataclass(frozen=True)
class Sizes:
    """What a pack's file holds: its parts, its banks in the order of ``distinct``, and its pixel space, in bytes."""

    parts: tuple[Size, ...]
    banks: tuple[int, ...]
    space: int


def distinct(parts: Sequence[Part]) -> list[Decoder]:
    """The decoders of some parts, each once, in order."""
    return list({id(part.decoder): part.decoder for part in parts}.values())


def measure(pack: Pack, data: bytes) -> Sizes:
    """The sizes in a pack's file; ``data`` are its bytes."""
    with Reader(data) as reader:
        manifest = reader.manifest
    parts = tuple(_part(manifest, number) for number in range(len(manifest.parts)))
    space = sum(manifest.stored_bytes(name) for name in pack.space.tensors())
    rest = _payload(manifest) - sum(_own(manifest, number) for number in range(len(parts))) - space
    elements = [sum(t.numel() for t in bank.state_dict().values()) for bank in distinct(pack.parts)]
    banks = tuple(math.ceil(rest * count / max(1, sum(elements))) for count in elements)
    return Sizes(parts, banks, space)


def overhead(pack: Pack, encoding: EncodingChoice) -> int:
    """Bytes of a pack's file that are no stored values; takes no time that grows with the number of sources."""
    small = Pack(pack.card, [part.take(torch.zeros(1, dtype=torch.int64)) for part in pack.parts], pack.space)
    card, entries, tensors = stored(small.card, small.parts, small.space)
    kept = {name for entry in entries for role, name in entry.tensors.items() if role in OWN}
    tensors = {name: values if name in kept else np.zeros_like(values) for name, values in tensors.items()}
    data = encode(card, entries, tensors, encoding)
    with Reader(data) as reader:
        block, manifest = reader.header.user_block, reader.manifest
    # The manifest's room is a power of two: counted as the next one where the whole file may come to need it.
    room = user_block_size(_frame(manifest) + NUMBERS * (1 + len(entries)))
    return len(data) - _payload(manifest) - block + room


def _frame(manifest: Manifest) -> int:
    """The length of the compressed manifest, where no two chunks are alike: equal digests would compress to nothing."""
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

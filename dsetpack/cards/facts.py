"""What a dataset card says about a pack, gathered once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dsetpack.cards.edit import address
from dsetpack.formats import Reader
from dsetpack.formats.card import Card
from dsetpack.formats.manifest import Manifest
from dsetpack.formats.parts import part_config, part_size
from dsetpack.formats.source import Readable


@dataclass(frozen=True)
class PartFacts:
    """One part: ``images`` is ``sources`` × ``decoders``, or the number that a generator draws per epoch."""

    kind: str
    name: str | None
    stage: int
    sources: int
    decoders: int
    source_shape: tuple[int, ...]
    stored: bool

    @property
    def images(self) -> int:
        """How many images the part decodes to."""
        return self.sources * self.decoders


@dataclass(frozen=True)
class TensorFacts:
    """One row of the tensor table; ``steps`` are its encodings in order, ``stored`` its bytes in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    steps: tuple[str, ...]
    stored: int


@dataclass(frozen=True)
class Facts:
    """A pack as its card describes it.

    Attributes:
        name: the file's name, without folders.
        size: bytes of the file.
        sha256: SHA-256 of the file's bytes, 64 hexadecimal digits.
        digest: as in ``Reader``; it pins the file.
        content_digest: as in ``Manifest``.
        version: the version of the format, ``major.minor``.
        manifest: card, parts and tensor index.
        parts, tensors: the rows of their tables.
    """

    name: str
    size: int
    sha256: str
    digest: str
    content_digest: str
    version: str
    manifest: Manifest
    parts: tuple[PartFacts, ...]
    tensors: tuple[TensorFacts, ...]

    @property
    def card(self) -> Card:
        """The pack's own card."""
        return self.manifest.card

    @property
    def address(self) -> str | None:
        """Where the set comes from, by its card: an ``http://`` or ``https://`` address."""
        return address(self.card)

    @property
    def images(self) -> int:
        """How many images the pack decodes to; 0 for a generator whose card does not say how many."""
        return sum(part.images for part in self.parts)


@dataclass(frozen=True)
class Preview:
    """A Parquet table beside a pack, of some of its images and their labels: what tools read that cannot read a pack.

    Attributes:
        name: where it lies, relative to the pack.
        images: how many images it has.
        size: bytes of the file.
        sha256: SHA-256 of the file's bytes, 64 hexadecimal digits.
    """

    name: str
    images: int
    size: int
    sha256: str


def facts(where: Readable, name: str | None = None) -> Facts:
    """Read what a card needs, and check every byte on the way: a damaged file gets no card.

    Args:
        where: path, bytes, binary file object or fsspec URL.
        name: the file's name where it is published; by default its name here.

    Raises:
        FormatError, IntegrityError, VersionError, LimitError: if the file is not a sound pack.
        OSError: if the file cannot be read.
    """
    with Reader(where, verify="all") as reader:
        whole = hashlib.sha256()
        for block in reader.blocks():
            whole.update(block)
        manifest = reader.manifest
        return Facts(
            name=name or base_name(reader.name),
            size=reader.header.file_length,
            sha256=whole.hexdigest(),
            digest=reader.digest,
            content_digest=manifest.content_digest,
            version=f"{reader.header.major}.{reader.header.minor}",
            manifest=manifest,
            parts=tuple(_part(number, manifest) for number in range(len(manifest.parts))),
            tensors=tuple(_tensor(key, manifest) for key in manifest.tensors),
        )


def base_name(path: str) -> str:
    """The last part of a path or URL of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _part(number: int, manifest: Manifest) -> PartFacts:
    part = manifest.parts[number]
    config = part_config(part)
    sources, decoders = part_size(part, manifest.card)
    shape = config.source_shape(manifest.card.shape)
    return PartFacts(part.kind, part.name, part.stage, sources, decoders, shape, config.has_sources)


def _tensor(name: str, manifest: Manifest) -> TensorFacts:
    tensor = manifest.tensors[name]
    below = manifest.datasets[tensor.dataset].encodings if tensor.dataset else ()
    steps = tuple(_spell(step.name, step.configuration) for step in (*tensor.encodings, *below))
    return TensorFacts(name, tensor.shape, tensor.dtype, steps, manifest.stored_bytes(name))


def _spell(name: str, configuration: Mapping[str, object]) -> str:
    shown = {"quantize": "bits", "cast": "dtype"}.get(name, "")
    return f"{name}({configuration[shown]})" if shown in configuration else name

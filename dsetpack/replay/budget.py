"""The cost of a memory: the bytes of its file, which is made after each change, and what each part takes of them.

Each part's sources and labels are datasets of their own, so their bytes add up. If a part loses sources, the rest is
expected to take bytes in proportion: right within a few percent, since sources compress differently well. This only
guides the choice of what to drop; what counts is the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsetpack.decoders import Decoder
from dsetpack.formats import Reader, encode
from dsetpack.formats.encodings import Encoding
from dsetpack.formats.presets import EncodingChoice
from dsetpack.formats.reuse import Reuse
from dsetpack.pack.pack import Pack
from dsetpack.pack.part import Part
from dsetpack.pack.stored import to_file

OWN = ("sources", "labels")
"""The roles that have datasets of their own."""


@dataclass(frozen=True)
class File:
    """The file of some contents.

    Attributes:
        data: its bytes.
        each: for each part, the mean bytes of one source with its label.
        rest: the bytes of everything else: decoders, pixel space, manifest and structure.
    """

    data: bytes
    each: tuple[float, ...]
    rest: int

    def __len__(self) -> int:
        return len(self.data)


def file_of(pack: Pack, encoding: EncodingChoice, reuse: Reuse | None = None) -> File:
    """Make the file of a pack. With ``reuse``, only what is new is encoded and compressed."""
    return measured(encode(*to_file(pack.card, pack.parts, pack.space), encoding=encoding, reuse=reuse))


def measured(data: bytes) -> File:
    """Measure a file, whose parts all have sources."""
    with Reader(data) as reader:
        manifest = reader.manifest
    own = [sum(manifest.stored_bytes(part.tensors[role]) for role in OWN) for part in manifest.parts]
    each = tuple(size / max(1, part.sources) for size, part in zip(own, manifest.parts, strict=True))
    return File(data, each, len(data) - sum(own))


def distinct(parts: Sequence[Part]) -> list[Decoder]:
    """The decoders of the parts, each listed once, in order."""
    return list({id(part.decoder): part.decoder for part in parts}.values())


def same_form(data: bytes, other: bytes) -> bool:
    """Whether two files hold tensors of the same names and shapes in the same encodings, apart from scales."""
    return _form(data) == _form(other)


def _form(data: bytes) -> dict[str, tuple[Any, ...]]:
    with Reader(data) as reader:
        tensors = reader.manifest.tensors
    return {name: (t.dtype, t.shape, [_setting(e) for e in t.encodings]) for name, t in tensors.items()}


def _setting(encoding: Encoding) -> tuple[str, dict[str, Any]]:
    found = encoding.configuration
    return encoding.name, {key: value for key, value in found.items() if key not in ("scale", "offset")}

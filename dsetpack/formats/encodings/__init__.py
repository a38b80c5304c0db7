"""Encodings: how a tensor's values become stored bytes, one file per encoding.

Array encodings (``cast``, ``quantize``) turn an array into another array; byte encodings (``shuffle``, ``zstd``) turn
bytes into bytes. In the manifest each is ``{"name": ..., "configuration": {...}}``, applied in order when writing and
undone in reverse when reading. To add an encoding, add a file that names its class as ``CODEC``; nothing else changes.
"""

from __future__ import annotations

from pydantic import Field, JsonValue

from dsetpack.formats.by_name import by_name
from dsetpack.formats.encodings.base import ArrayCodec, ByteCodec, Resolve
from dsetpack.formats.errors import VersionError, at
from dsetpack.formats.model import Model

__all__ = ["ArrayCodec", "ByteCodec", "Encoding", "Resolve", "codec", "encoding_names", "spell"]


class Encoding(Model):
    """One step of a pipeline as the manifest spells it."""

    name: str
    configuration: dict[str, JsonValue] = Field(default={})


def encoding_names() -> tuple[str, ...]:
    """The names of all encodings that this version knows, sorted."""
    return tuple(by_name(__name__, "CODEC"))


def codec(encoding: Encoding) -> ArrayCodec | ByteCodec:
    """The codec that an encoding of a manifest names.

    Raises:
        VersionError: if this version does not know the encoding.
        FormatError: if the configuration does not fit the encoding.
    """
    if encoding.name not in encoding_names():
        raise VersionError(f"unknown encoding {encoding.name!r}; this version knows {', '.join(encoding_names())}")
    kind: type[ArrayCodec] | type[ByteCodec] = by_name(__name__, "CODEC")[encoding.name]
    with at(f"encoding {encoding.name!r}"):
        return kind.model_validate(encoding.configuration, strict=True)


def spell(step: ArrayCodec | ByteCodec) -> Encoding:
    """The manifest's spelling of a codec."""
    return Encoding(name=step.name, configuration=step.model_dump(mode="json", exclude_none=True))

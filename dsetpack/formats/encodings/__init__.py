"""Encodings: how a tensor's values become stored bytes, one file each.

Array encodings (``cast``, ``quantize``) turn an array into another array; byte encodings (``shuffle``, ``zstd``) turn
bytes into bytes. In the manifest each is ``{"name": ..., "configuration": {...}}``, applied in order when writing and
undone in reverse when reading. A new encoding is a new file with a class ``Codec``; nothing else changes.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from dsetpack.formats.encodings.base import ArrayCodec, ByteCodec, Resolve
from dsetpack.formats.errors import FormatError, VersionError
from dsetpack.formats.model import Model, problems

__all__ = ["ArrayCodec", "ByteCodec", "Encoding", "Resolve", "codec", "encoding_names", "spell"]


class Encoding(Model):
    """One step of a pipeline as the manifest spells it."""

    name: str
    configuration: dict[str, JsonValue] = Field(default={})


@cache
def encoding_names() -> tuple[str, ...]:
    """The names of all encodings this version knows, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


@cache
def _class(name: str) -> type[ArrayCodec] | type[ByteCodec]:
    found: Any = importlib.import_module(f"{__name__}.{name}").Codec
    return found  # type: ignore[no-any-return]


def codec(encoding: Encoding) -> ArrayCodec | ByteCodec:
    """The codec that an encoding of a manifest names.

    Raises:
        VersionError: the name is unknown here. It is compared with the files of this package, never imported blindly.
        FormatError: the configuration does not fit the encoding.
    """
    if encoding.name not in encoding_names():
        raise VersionError(f"unknown encoding {encoding.name!r}; this version knows {', '.join(encoding_names())}")
    try:
        return _class(encoding.name).model_validate(encoding.configuration, strict=True)
    except ValidationError as error:
        raise FormatError(f"encoding {encoding.name!r}: {problems(error)}") from None


def spell(step: ArrayCodec | ByteCodec) -> Encoding:
    """The manifest's spelling of a codec."""
    return Encoding(name=step.name, configuration=step.model_dump(mode="json", exclude_none=True))

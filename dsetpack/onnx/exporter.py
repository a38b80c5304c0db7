"""From a pack's file to the bytes of an ONNX model."""

from __future__ import annotations

import math
import os
from typing import Literal

import numpy as np
from typing_extensions import TypeIs

from dsetpack.formats import Reader
from dsetpack.formats.card import Card, ZcaSpace
from dsetpack.formats.errors import FormatError, IntegrityError, LimitError, at
from dsetpack.formats.manifest import ITEMSIZE
from dsetpack.formats.parts import drawing
from dsetpack.formats.presets import EncodingChoice
from dsetpack.formats.source import Readable
from dsetpack.onnx import envelope
from dsetpack.onnx.build import Builder, ExportedPart
from dsetpack.onnx.exportable import Exportable
from dsetpack.onnx.graph import FLOAT, INT32, INT64, info
from dsetpack.onnx.routing import Fast, Portable
from dsetpack.onnx.spaces import Floats, SpaceGraph
from dsetpack.version import __version__

LABEL_TYPES = {"int64": INT64, "int32": INT32}
"""The types of hard labels."""
LARGEST = 2**31 - 2**20
"""The largest number of bytes in an ONNX file: protobuf's limit, minus room for the graph."""


def model(
    pack: Exportable | Readable,
    space: Literal["pack", "raw"] = "pack",
    decoder_only: bool = False,
    encoding: EncodingChoice | None = None,
    per_class: int | None = None,
    portable: bool = False,
    label_type: Literal["int64", "int32"] = "int64",
) -> bytes:
    """Make the bytes that ``dsetpack.onnx.export`` writes; see there."""
    if space not in ("pack", "raw"):
        raise FormatError(f"space {space!r}: 'pack' or 'raw' expected")
    if label_type not in LABEL_TYPES:
        raise FormatError(f"label_type {label_type!r}: {' or '.join(map(repr, LABEL_TYPES))} expected")
    if _is_readable(pack):
        if encoding is not None:
            raise FormatError("encoding= is for packs in memory; a file's tensors are exported as they are stored")
        with Reader(pack) as reader:
            with at(reader.name):
                card = drawing(reader.manifest, reader.manifest.card, per_class)
            return _model(reader, card, None, space, decoder_only, portable, label_type)
    with _reader(pack, encoding) as reader:
        card = drawing(reader.manifest, pack.card, per_class)
        return _model(reader, card, _refitted(pack), space, decoder_only, portable, label_type)


def _is_readable(pack: Exportable | Readable) -> TypeIs[Readable]:
    return isinstance(pack, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(pack, "read")


def _reader(pack: Exportable, encoding: EncodingChoice | None) -> Reader:
    """Open the file that a pack was opened from, or one made from it in memory."""
    if pack.origin is None or encoding is not None:
        return Reader(pack.to_bytes("exact" if encoding is None else encoding))
    reader = Reader(pack.origin)
    try:
        _check_same(reader, pack)
    except BaseException:
        reader.close()
        raise
    return reader


def _check_same(reader: Reader, pack: Exportable) -> None:
    """Check that the file is the one that the pack was opened from, and that the pack still has its values.

    Raises:
        IntegrityError: if the file is another one.
        FormatError: if the pack was changed since it was opened.
    """
    either = "open it again, or pass encoding= to export what is in memory"
    if reader.digest != pack.digest:
        raise IntegrityError(f"{reader.name}: another file than the pack was opened from; {either}")
    if not _holds(reader, pack):
        raise FormatError(f"{reader.name}: the pack's tensors were changed since it was opened; {either}")


def _holds(reader: Reader, pack: Exportable) -> bool:
    for number, part in enumerate(pack.parts):
        here = part.decoder.state_dict() | {"labels": part.labels, "sources": part.sources}
        for role, stored in reader.part(number).items():
            values = here[role].detach().cpu().numpy()
            if not np.array_equal(values, stored.astype(values.dtype), equal_nan=True):
                return False
    return True


def _refitted(pack: Exportable) -> tuple[Floats, Floats] | None:
    """Mean and matrix of a refitted ZCA, if the pack's file keeps only the recipe."""
    space = pack.card.space
    if not isinstance(space, ZcaSpace) or space.storage == "embed" or not pack.space.ready:
        return None
    mean, matrix = (tensor.cpu().numpy() for tensor in pack.space.stored("embed").tensors().values())
    return mean, matrix


def _model(
    reader: Reader,
    card: Card,
    refitted: tuple[Floats, Floats] | None,
    space: Literal["pack", "raw"],
    decoder_only: bool,
    portable: bool,
    label_type: Literal["int64", "int32"],
) -> bytes:
    builder = Builder(reader, card, SpaceGraph(card, reader, refitted), Portable() if portable else Fast())
    _check(builder, reader, card, decoder_only)
    outputs = [info("image", FLOAT, *card.shape)]
    if decoder_only:
        inputs = builder.decoder(space)
    else:
        hard = LABEL_TYPES[label_type]
        inputs = builder.pack(space, hard)
        soft = card.labels.kind == "soft"
        outputs.append(info("label", FLOAT, len(card.classes)) if soft else info("label", hard))
    parts = () if decoder_only else tuple(_part(part) for part in builder.parts)
    described = envelope.ModelInfo(
        digest=reader.digest,
        content_digest=reader.manifest.content_digest,
        space=space,
        decoder_only=decoder_only,
        epoch_rule=card.epoch_rule,
        parts=parts,
        noise=builder.noise() if parts else None,
    )
    made = builder.graph.model(inputs, outputs, __version__, envelope.metadata(described, card))
    return envelope.seal(made.SerializeToString(deterministic=True))


def _part(part: ExportedPart) -> envelope.PartInfo:
    sources = (part.last - part.first) // part.slots
    return envelope.PartInfo(sources=sources, slots=part.slots, drawn=not part.config.has_sources)


def _check(builder: Builder, reader: Reader, card: Card, decoder_only: bool) -> None:
    """Refuse a pack that cannot become a model, before anything is built."""
    datasets = reader.manifest.datasets.values()
    total = sum(math.prod(dataset.shape) * ITEMSIZE[dataset.dtype] for dataset in datasets)
    if total > LARGEST:
        raise LimitError(f"{reader.name}: {total} bytes of tensors; an ONNX file holds at most {LARGEST}")
    banks = len(builder.groups())
    if decoder_only and banks > 1:
        raise FormatError(
            f"{reader.name}: the pack has {banks} banks, and a model of the decoder alone has one: export "
            "dsetpack.open(...).select(parts=[...])"
        )
    drawn = any(not part.config.has_sources for part in builder.parts)
    if drawn and not decoder_only and card.per_class is None:
        raise FormatError(f"{reader.name}: a generator has no length of its own; pass per_class= (--per-class)")

"""The model's metadata besides the card, and the checksum at the end of the file.

An ONNX file is a protobuf message, and such messages can be concatenated. So the file is the model, followed by a
message with one metadata entry: the SHA-256 of all bytes before it. Other ONNX tools read the file as if the checksum
were not there, and a file that was cut short or damaged is recognised before the runtime's parser sees a byte of it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from dsetpack.formats.card import Card, Digest, Positive
from dsetpack.formats.errors import FormatError, IntegrityError, VersionError, at
from dsetpack.formats.model import Model

INFO, CARD, CHECKSUM = "dsetpack", "dsetpack.card", "dsetpack.sha256"
"""Keys of the model's metadata: ``ModelInfo`` and the card as JSON, and the checksum."""
LAYOUT = 1
_METADATA, _KEY, _VALUE = b"\x72", b"\x0a", b"\x12"  # fields 14 of ModelProto, 1 and 2 of its entries
_HEX = 64
_HEAD = (
    _METADATA
    + bytes([4 + len(CHECKSUM) + _HEX])
    + (_KEY + bytes([len(CHECKSUM)]) + CHECKSUM.encode() + _VALUE + bytes([_HEX]))
)


class PartInfo(Model):
    """Sources and slots of a part; ``drawn`` if a generator makes the sources from noise."""

    sources: Positive
    slots: Positive
    drawn: bool = False


class ModelInfo(Model):
    """The information that a runtime needs besides the card.

    Attributes:
        layout: version of this metadata and of the graph's inputs and outputs.
        digest, content_digest: those of the pack file that was exported.
        space: ``pack`` or ``raw``, the space of the images.
        decoder_only: whether the model is a bank alone.
        epoch_rule: ``paired`` or ``product``.
        parts: the sizes of the parts, in order; pairs are numbered as in ``dsetpack.order.pairs``.
        noise: z, the length of the noise that generators take; None if there are no generators.
    """

    layout: Annotated[int, Field(ge=1)] = LAYOUT
    digest: Digest
    content_digest: Digest
    space: Literal["pack", "raw"]
    decoder_only: bool = False
    epoch_rule: Literal["paired", "product"]
    parts: tuple[PartInfo, ...] = ()
    noise: Positive | None = None


def metadata(info: ModelInfo, card: Card) -> dict[str, str]:
    """Make the entries of a model's metadata."""
    return {
        INFO: info.model_dump_json(exclude_none=True),
        CARD: card.model_dump_json(exclude_defaults=True),
    }


def read_metadata(found: dict[str, str]) -> tuple[ModelInfo, Card]:
    """Read what ``metadata`` made.

    Raises:
        FormatError: if dsetpack did not export the model, or if its metadata is damaged.
        VersionError: if it has a later layout.
    """
    if INFO not in found or CARD not in found:
        raise FormatError(f"not exported by dsetpack: its metadata has no {INFO!r} and {CARD!r}")
    layout = _validated(_Layout, found[INFO]).layout
    if layout > LAYOUT:
        raise VersionError(f"of layout {layout}; this version knows {LAYOUT}: update dsetpack")
    return _validated(ModelInfo, found[INFO]), _validated(Card, found[CARD])


def seal(model: bytes) -> bytes:
    """Append the checksum to a model."""
    return model + _HEAD + hashlib.sha256(model).hexdigest().encode()


def check(data: bytes) -> None:
    """Compare a file with the checksum at its end.

    Raises:
        IntegrityError: if the checksum differs or is missing.
    """
    model, head = data[: -len(_HEAD) - _HEX], data[-len(_HEAD) - _HEX : -_HEX]
    if head != _HEAD:
        raise IntegrityError(
            "no dsetpack checksum at its end: cut short, not exported by dsetpack, or rewritten by another "
            "tool (then open it with verify=False)"
        )
    if hashlib.sha256(model).hexdigest().encode() != data[-_HEX:]:
        raise IntegrityError(
            "damaged, or rewritten by another tool (then open it with verify=False): its SHA-256 is not the one at its "
            "end; export it again"
        )


class _Layout(Model):
    """The layout alone: other fields of later versions are ignored."""

    model_config = ConfigDict(extra="ignore")
    layout: int


def _validated(model: type[Any], text: str) -> Any:
    with at("metadata"):
        return model.model_validate_json(text, strict=True)

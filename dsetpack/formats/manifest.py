"""The manifest: card, parts and tensor index, as typed models, and their JSON (SPEC.md, "Manifest")."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from dsetpack.formats.card import Card, Positive
from dsetpack.formats.encodings import Encoding
from dsetpack.formats.encodings.zstd import pack_frame, unpack_frame
from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import Model, printable, problems

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0, lt=2**63)]
Dims = Annotated[tuple[Size, ...], Field(max_length=32)]
DType = Literal[
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"
]
ITEMSIZE: dict[str, int] = {d: int(d.lstrip("uintfloa")) // 8 for d in DType.__args__}  # type: ignore[attr-defined]


class Chunk(Model):
    """One stored chunk: where it lies, counted from the end of the user block, and the digest of its stored bytes."""

    offset: Size
    length: Annotated[int, Field(ge=1, lt=2**63)]
    sha256: Sha256


class DatasetEntry(Model):
    """One HDF5 dataset: stored values of one or more tensors, chunked along the first axis.

    ``chunk`` equals ``shape`` except along the first axis; the last chunk is padded with zeros to full size.
    """

    dtype: DType
    shape: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=32)]
    chunk: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=32)]
    encodings: tuple[Encoding, ...] = ()
    chunks: tuple[Chunk, ...] = Field(min_length=1)

    @property
    def chunk_bytes(self) -> int:
        """The number of plain bytes in one chunk."""
        return math.prod(self.chunk) * ITEMSIZE[self.dtype]

    @property
    def stored_bytes(self) -> int:
        """The number of bytes in the file."""
        return sum(c.length for c in self.chunks)


class TensorEntry(Model):
    """One logical tensor: ``shape`` elements in C order from element ``start`` of a dataset.

    A tensor without elements has no dataset. ``encodings`` are those that turn an array into an array; the dataset's
    encodings follow them.
    """

    dtype: DType
    shape: Dims
    encodings: tuple[Encoding, ...] = ()
    dataset: Name | None = None
    start: Size = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class PartEntry(Model):
    """Sources that share one bank of decoders.

    Attributes:
        kind, config: the decoder kind and its settings.
        sources: the number of sources; 0 for a kind that draws them.
        tensors: tensor name by role: ``sources``, ``labels`` and the kind's bank roles. Parts share a bank by naming
            the same tensors.
        stage: the stage of a continual learner in which this part was made.
        name: what people call it (``train``, ``test``).
        class_decoders: for each class, the decoders that its sources may be decoded with, the same number for each;
            all decoders if left out.
    """

    kind: str
    config: dict[str, JsonValue] = Field(default={})
    sources: Size
    tensors: dict[str, Name]
    stage: Size = 0
    name: str | None = None
    class_decoders: tuple[tuple[Size, ...], ...] | None = None


class Manifest(Model):
    """All that a reader needs besides the chunks.

    ``rest`` is the SHA-256 of all bytes after the user block that no chunk covers, in file order.
    """

    card: Card
    parts: tuple[PartEntry, ...] = Field(min_length=1)
    tensors: dict[Name, TensorEntry]
    datasets: dict[Name, DatasetEntry]
    rest: Sha256

    def dump(self) -> bytes:
        """The JSON bytes that the file stores: sorted keys, no white space, defaults left out, UTF-8."""
        return canonical(self.model_dump(exclude_defaults=True))  # mode "json" would change keys that are not UTF-8

    @property
    def content_digest(self) -> str:
        """``sha256:...`` over parts, tensors, encodings and stored bytes, but not over card and offsets."""
        content = self.model_dump(exclude_defaults=True, include={"parts", "tensors", "datasets"})
        for dataset in content["datasets"].values():
            dataset["chunks"] = [chunk["sha256"] for chunk in dataset["chunks"]]
        return "sha256:" + hashlib.sha256(canonical(content)).hexdigest()

    def stored_bytes(self, name: str) -> int:
        """The stored bytes of a tensor; if it shares a dataset, its share of them by elements."""
        tensor = self.tensors[name]
        if tensor.dataset is None:
            return 0
        dataset = self.datasets[tensor.dataset]
        return round(dataset.stored_bytes * tensor.size / math.prod(dataset.shape))


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no white space, as UTF-8: the same bytes for the same value.

    Raises:
        FormatError: if it holds NaN, infinity, half a surrogate pair or an integer of thousands of digits, or if it is
            nested too deeply.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, RecursionError) as error:
        raise FormatError(f"cannot be written as JSON: {error}") from None


def compress(plain: bytes) -> bytes:
    """The zstd frame that stores a manifest's JSON."""
    return pack_frame(plain)


def decompress(frame: bytes, size: int) -> bytes:
    """Undo ``compress``; the result has ``size`` bytes.

    Raises:
        FormatError: if it has another size, or if the frame is damaged.
    """
    return unpack_frame(frame, size)


def parse(data: bytes, limits: Limits | None = None) -> Manifest:
    """Read a manifest's JSON.

    Raises:
        FormatError: if it is not UTF-8 or not JSON, if a key appears twice or is unknown, or if a value has a wrong
            type or is out of its range.
        LimitError: if there are more values than the limit.
    """
    values, most = sum(data.count(c) for c in (b",", b"[", b"{")), (limits or Limits()).values
    if values > most:
        raise LimitError(f"about {values} values in the manifest; the limit is {most}")
    try:
        json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        return Manifest.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise FormatError(f"manifest: {problems(error)}") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"the manifest is not UTF-8: {error}") from None
    except RecursionError:
        raise FormatError("the manifest is nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"the manifest is not JSON: {printable(str(error))}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} stands twice in one object")
        found[key] = value
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value

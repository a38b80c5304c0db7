"""Checks of a parsed manifest that need no data: the index is sound, and every tensor fits its part's decoder.

After ``check`` a reader may trust every size, offset, shape and name in the manifest.
"""

from __future__ import annotations

import math

from dsetpack.formats.encodings import ArrayCodec, ByteCodec, Encoding, codec
from dsetpack.formats.errors import FormatError, LimitError, VersionError, at
from dsetpack.formats.header import Header
from dsetpack.formats.limits import Limits
from dsetpack.formats.manifest import ITEMSIZE, DatasetEntry, Manifest, TensorEntry
from dsetpack.formats.parts import check_card, check_part, part_config, part_size
from dsetpack.formats.words import plural


def check(manifest: Manifest, header: Header, limits: Limits) -> None:
    """Check index, parts and card against each other, the file's length and the limits.

    Raises:
        FormatError, VersionError, LimitError: if something does not fit; the message names the dataset, tensor or part.
    """
    try:
        _check_all(manifest, header, limits)
    except VersionError as error:
        raise VersionError(f"{error}; the file is of format {header.major}.{header.minor}: update dsetpack") from None


def _check_all(manifest: Manifest, header: Header, limits: Limits) -> None:
    length = header.file_length - header.user_block
    _check_total(manifest, limits)
    _check_image(manifest, limits)
    for name, dataset in manifest.datasets.items():
        with at(f"dataset {name!r}"):
            _check_dataset(dataset, limits)
    _check_ranges(manifest, length)
    _check_rest(manifest, length)
    for name, tensor in manifest.tensors.items():
        with at(f"tensor {name!r}"):
            _check_tensor(tensor, manifest)
    _check_tiling(manifest)
    with at("card"):
        check_card(manifest)
    for number, part in enumerate(manifest.parts):
        with at(f"part {number}"):
            check_part(part, manifest)
    _check_pairs(manifest, limits)
    _check_prepared(manifest, limits)


def _check_total(manifest: Manifest, limits: Limits) -> None:
    """Limit the bytes of decoded tensors, of decoded datasets, and of tensors counted once per part that names them."""
    logical = {name: _declared_bytes(tensor) for name, tensor in manifest.tensors.items()}
    plain = sum(d.chunk_bytes * len(d.chunks) for d in manifest.datasets.values())
    by_part = sum(logical.get(name, 0) for part in manifest.parts for name in part.tensors.values())
    declared = max(sum(logical.values()), plain, by_part)
    if declared > limits.total:
        raise LimitError(f"the file declares {_short(declared)} bytes of data; the limit is {limits.total}")


def _check_image(manifest: Manifest, limits: Limits) -> None:
    """Limit the bytes of one image: a generator stores no images, so nothing else checks their size in the card."""
    size = math.prod(manifest.card.shape) * 4
    if size > limits.total:
        raise LimitError(f"an image would take {_short(size)} bytes; the limit is {limits.total}")


def _check_pairs(manifest: Manifest, limits: Limits) -> None:
    """Limit the bytes of an epoch's labels and order: a few bytes of a file can declare any number of pairs."""
    card = manifest.card
    each = 8 if card.labels.kind == "hard" else max(8, 4 * len(card.classes))
    pairs = sum(sources * slots for sources, slots in (part_size(part, card) for part in manifest.parts))
    if each * pairs > limits.total:
        raise LimitError(
            f"the labels of {_short(pairs)} pairs take {each} bytes each; the limit is {limits.total} bytes"
        )


def _check_prepared(manifest: Manifest, limits: Limits) -> None:
    """Limit what decoders compute before they make an image: it may be far larger than what is stored."""
    prepared = sum(part_config(part).prepared_floats(manifest.card.shape) for part in manifest.parts)
    if 4 * prepared > limits.total:
        raise LimitError(f"decoders would prepare {_short(4 * prepared)} bytes; the limit is {limits.total}")


def _short(number: int) -> str:
    return str(number) if number < 2**64 else f"over 2**{number.bit_length() - 1}"


def _declared_bytes(tensor: TensorEntry) -> int:
    """Bytes in memory; a length of zero counts as one, since no library accepts the shape (0, 2**62)."""
    return math.prod(max(n, 1) for n in tensor.shape) * ITEMSIZE[tensor.dtype]


def _check_dataset(dataset: DatasetEntry, limits: Limits) -> None:
    if len(dataset.chunk) != len(dataset.shape) or dataset.chunk[1:] != dataset.shape[1:]:
        raise FormatError(f"chunks of {list(dataset.chunk)} found; only the first axis of {list(dataset.shape)} is cut")
    if dataset.chunk[0] > dataset.shape[0]:
        raise FormatError(f"chunks of {list(dataset.chunk)} are larger than the dataset, {list(dataset.shape)}")
    expected = -(-dataset.shape[0] // dataset.chunk[0])
    if len(dataset.chunks) != expected:
        raise FormatError(f"{plural(len(dataset.chunks), 'chunk')} found, {expected} expected")
    largest = max(dataset.chunk_bytes, *(c.length for c in dataset.chunks), 0)
    if largest > limits.chunk:
        raise LimitError(f"a chunk of {largest} bytes; the limit is {limits.chunk}")
    if not any(step.name == "zstd" for step in byte_codecs(dataset)):
        wrong = [c.length for c in dataset.chunks if c.length != dataset.chunk_bytes]
        if wrong:
            raise FormatError(f"an uncompressed chunk of {wrong[0]} bytes found, {dataset.chunk_bytes} expected")


def byte_codecs(dataset: DatasetEntry) -> list[ByteCodec]:
    """The codecs of a dataset: none, shuffle, zstd, or shuffle and zstd. Shuffle must have the dtype's item size."""
    steps = [_byte_codec(e) for e in dataset.encodings]
    names = [s.name for s in steps]
    if names not in ([], ["shuffle"], ["zstd"], ["shuffle", "zstd"]):
        raise FormatError(f"encodings {names} found; expected at most shuffle, then zstd")
    itemsize = ITEMSIZE[dataset.dtype]
    for encoding in dataset.encodings:
        if encoding.name == "shuffle" and encoding.configuration.get("itemsize") != itemsize:
            raise FormatError(f"shuffle of {encoding.configuration} found; {dataset.dtype} has {itemsize} bytes")
    return steps


def _byte_codec(encoding: Encoding) -> ByteCodec:
    step = codec(encoding)
    if not isinstance(step, ByteCodec):
        raise FormatError(f"encoding {encoding.name!r} makes arrays; it belongs to a tensor")
    return step


def array_codecs(tensor: TensorEntry) -> list[ArrayCodec]:
    """The codecs of a tensor: at most one, since each makes a dtype that no other takes."""
    steps = []
    for encoding in tensor.encodings:
        step = codec(encoding)
        if not isinstance(step, ArrayCodec):
            raise FormatError(f"encoding {encoding.name!r} makes bytes; it belongs to a dataset")
        steps.append(step)
    if len(steps) > 1:
        raise FormatError(f"encodings {[s.name for s in steps]} found; expected at most one of cast and quantize")
    return steps


def _check_ranges(manifest: Manifest, length: int) -> None:
    """Check that every chunk lies inside the file and that no two overlap."""
    chunks = sorted(
        ((c.offset, c.offset + c.length, key) for key, d in manifest.datasets.items() for c in d.chunks),
    )
    end, before = 0, ""
    for start, stop, key in chunks:
        if stop > length:
            raise FormatError(f"dataset {key!r}: a chunk at {start}..{stop} lies outside the {length} bytes there are")
        if start < end:
            raise FormatError(f"dataset {key!r}: a chunk at {start}..{stop} overlaps one of dataset {before!r}")
        end, before = stop, key


def _check_rest(manifest: Manifest, length: int) -> None:
    """Check that few bytes lie outside the chunks: room for HDF5's own, but not to hide another file."""
    chunks = sum(len(d.chunks) for d in manifest.datasets.values())
    rest = length - sum(d.stored_bytes for d in manifest.datasets.values())
    room = 8192 + 2048 * len(manifest.datasets) + 64 * chunks
    if rest > room:
        raise FormatError(f"{rest} bytes belong to no chunk; at most {room} expected")


def _check_tensor(tensor: TensorEntry, manifest: Manifest) -> None:
    if tensor.size == 0:
        if tensor.dataset is not None or tensor.encodings or tensor.start:
            raise FormatError("a tensor without elements has no dataset, no start and no encodings")
        return
    if tensor.dataset not in manifest.datasets:
        raise FormatError(f"dataset {tensor.dataset!r} is not in the index")
    dataset = manifest.datasets[tensor.dataset]
    stored = tensor.dtype
    for step in array_codecs(tensor):
        stored = step.stored_dtype(stored)  # type: ignore[assignment]
        for name, shape in step.needs(tensor.shape).items():
            _check_side_tensor(name, shape, manifest)
    if stored != dataset.dtype:
        raise FormatError(f"its values are stored as {stored}, but dataset {tensor.dataset!r} holds {dataset.dtype}")
    if tensor.start + tensor.size > math.prod(dataset.shape):
        raise FormatError(f"elements {tensor.start}..{tensor.start + tensor.size} exceed dataset {tensor.dataset!r}")


def _check_side_tensor(name: str, shape: tuple[int, ...], manifest: Manifest) -> None:
    side = manifest.tensors.get(name)
    if side is None:
        raise FormatError(f"needs the tensor {name!r}, which is not in the index")
    if side.dtype != "float32" or side.shape != shape or side.encodings:
        raise FormatError(f"needs {name!r} as plain float32 {list(shape)}; found {side.dtype} {list(side.shape)}")


def _check_tiling(manifest: Manifest) -> None:
    """Check that the tensors of a dataset cover it without gap or overlap: no bytes are hidden or shared."""
    slices: dict[str, list[tuple[int, int]]] = {key: [] for key in manifest.datasets}
    for tensor in manifest.tensors.values():
        if tensor.dataset is not None:
            slices[tensor.dataset].append((tensor.start, tensor.start + tensor.size))
    for key, found in slices.items():
        end = 0
        for start, stop in sorted(found):
            if start != end:
                raise FormatError(f"dataset {key!r}: a tensor starts at element {start}, {end} expected")
            end = stop
        total = math.prod(manifest.datasets[key].shape)
        if end != total:
            raise FormatError(f"dataset {key!r}: {end} of {total} elements belong to a tensor")

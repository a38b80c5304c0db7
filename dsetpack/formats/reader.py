"""Read header and manifest at once and tensors on request, and check every byte before it is used.

Nothing here calls the HDF5 library: ranges come from the index, digests are compared, frames are decompressed by
``zstandard`` in a thread pool, and numpy undoes the rest.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats import header as headers
from dsetpack.formats import index, manifest, signature
from dsetpack.formats.errors import FormatError, IntegrityError, LimitError, at
from dsetpack.formats.header import Header
from dsetpack.formats.keys import TrustedKey, spell_id, trusted
from dsetpack.formats.limits import Limits
from dsetpack.formats.manifest import ITEMSIZE, DatasetEntry, Manifest
from dsetpack.formats.parts import check_values, roles_of
from dsetpack.formats.progress import steps
from dsetpack.formats.source import Readable, Source, source

Array = NDArray[Any]
FIRST_READ = 8192
"""Bytes of the first request: enough for the header and manifest of a usual pack."""
BLOCK = 1 << 20


class Reader:
    """An open pack file.

    Attributes:
        name: the file, for messages.
        header, manifest: the file's, already checked.
    """

    def __init__(
        self,
        where: Readable,
        verify: Literal["touched", "all"] = "touched",
        limits: Limits | None = None,
        name: str | None = None,
        digest: str | None = None,
        trusted_keys: Iterable[TrustedKey] | None = None,
    ):
        """Read and check header and manifest.

        Args:
            where: path, bytes, binary file object or fsspec URL.
            verify: ``touched`` checks what is read when it is read; ``all`` checks every byte now.
            limits: what the file may declare; the defaults of ``Limits`` if left out.
            name: what messages call the file; by default its path, URL or similar.
            digest: the file must have this ``digest``.
            trusted_keys: one of these public keys must have signed it. This and ``digest`` are checked before the
                manifest is parsed.

        Raises:
            FormatError: if the file does not follow the format.
            IntegrityError: if it is damaged, or is not what ``digest`` or ``trusted_keys`` ask for.
            VersionError: if it needs a newer dsetpack.
            LimitError: if it declares more than the limits allow.
            OSError: if it cannot be read.
        """
        if verify not in ("touched", "all"):
            raise ValueError(f"verify={verify!r}: 'touched' or 'all' expected")
        _check_spelling(digest)
        keys = None if trusted_keys is None else trusted(trusted_keys)
        self._source = source(where)
        self._source.name = name or self._source.name
        self.name = self._source.name
        self._cache: dict[str, bytes] = {}
        try:
            with at(self.name):
                self.header, self.manifest = _open(self._source, limits or Limits(), digest, keys)
            self._tensors_in = Counter(t.dataset for t in self.manifest.tensors.values())
            if verify == "all":
                self.check_all()
        except BaseException:
            self._source.close()
            raise

    @property
    def digest(self) -> str:
        """``sha256:...`` of the manifest's stored bytes; it pins every byte after the header."""
        return "sha256:" + self.header.digest.hex()

    def tensor(self, name: str) -> Array:
        """A tensor's values in its logical dtype and shape, checked against the card.

        Raises:
            KeyError: if there is no such tensor.
            IntegrityError: if its bytes are damaged.
            FormatError: if its bytes do not decode, if a label does not name a class, or if a value is not finite
                although the card promises it.
        """
        values = self.decoded(name)
        for role, place in roles_of(self.manifest).get(name, {}).items():
            with at(f"{self.name}: {place}"):
                check_values(role, values, self.manifest.card)
        return values

    def decoded(self, name: str) -> Array:
        """Like ``tensor``, but the values are not checked against the card."""
        if name not in self.manifest.tensors:
            raise KeyError(f"{self.name}: no tensor {name!r}; there are {', '.join(sorted(self.manifest.tensors))}")
        entry = self.manifest.tensors[name]
        values = self.stored(name)
        for step in reversed(index.array_codecs(entry)):
            values = step.decode(values, np.dtype(entry.dtype), self.decoded)
        return values

    def stored(self, name: str) -> Array:
        """A tensor's stored values: codes, before ``cast`` and ``quantize`` are undone."""
        entry = self.manifest.tensors[name]
        if entry.dataset is None:
            return np.empty(entry.shape, entry.dtype)
        dataset = self.manifest.datasets[entry.dataset]
        flat = np.frombuffer(self._plain(entry.dataset, dataset), np.dtype(dataset.dtype).newbyteorder("<"))
        values = flat[entry.start : entry.start + entry.size].reshape(entry.shape)
        return values.astype(dataset.dtype)  # a writable copy in native byte order

    def part(self, number: int) -> dict[str, Array]:
        """All tensors of a part by role, with their values checked against the card."""
        return {role: self.role(number, role) for role in self.manifest.parts[number].tensors}

    def role(self, number: int, role: str) -> Array:
        """The tensor that plays a role in a part, with its values checked against the card."""
        values = self.decoded(self.manifest.parts[number].tensors[role])
        with at(f"{self.name}: part {number}: {role}"):
            check_values(role, values, self.manifest.card)
        return values

    def check_all(self) -> None:
        """Compare every byte of the file with the index.

        Raises:
            IntegrityError: if a byte differs; the message names the dataset and chunk, or the bytes outside the chunks.
        """
        chunks = [
            (name, number) for name, dataset in self.manifest.datasets.items() for number in range(len(dataset.chunks))
        ]
        with steps("verify", len(chunks)) as work:
            for name, number in chunks:
                self._chunk(name, self.manifest.datasets[name], number)
                work.advance()
        rest = hashlib.sha256()
        for start, stop in _gaps(self.manifest, self.header):
            for offset in range(start, stop, BLOCK):
                rest.update(self._bytes(offset, min(BLOCK, stop - offset)))
        if rest.hexdigest() != self.manifest.rest:
            raise IntegrityError(f"{self.name}: bytes outside the chunks were changed since the file was written")

    def blocks(self) -> Iterator[bytes]:
        """The whole file, piece by piece."""
        for offset in range(0, self.header.file_length, BLOCK):
            yield self._bytes(offset, min(BLOCK, self.header.file_length - offset))

    def _bytes(self, offset: int, length: int) -> bytes:
        with at(self.name):
            return _exactly(self._source, offset, length)

    def _plain(self, name: str, dataset: DatasetEntry) -> bytes:
        """The plain bytes of a whole dataset, without the last chunk's padding."""
        if name in self._cache:
            return self._cache[name]
        workers = min(len(dataset.chunks), os.cpu_count() or 1, 8)
        if workers > 1:
            with ThreadPoolExecutor(workers) as pool:
                chunks = list(pool.map(lambda n: self._chunk(name, dataset, n), range(len(dataset.chunks))))
        else:
            chunks = [self._chunk(name, dataset, n) for n in range(len(dataset.chunks))]
        plain = b"".join(chunks)[: math.prod(dataset.shape) * ITEMSIZE[dataset.dtype]]
        if self._tensors_in[name] > 1:
            self._cache[name] = plain  # small tensors share it, and each will ask for it
        return plain

    def _chunk(self, name: str, dataset: DatasetEntry, number: int) -> bytes:
        """Read, check and decode one chunk."""
        chunk = dataset.chunks[number]
        with at(f"{self.name}: dataset {name!r}, chunk {number}"):
            data = _exactly(self._source, self.header.user_block + chunk.offset, chunk.length)
            found = hashlib.sha256(data).hexdigest()
            if found != chunk.sha256:
                raise IntegrityError(f"digest {found[:16]}… found, {chunk.sha256[:16]}… expected: damaged or changed")
            for step in reversed(index.byte_codecs(dataset)):
                data = step.decode(data, dataset.chunk_bytes)
            if len(data) != dataset.chunk_bytes:
                raise FormatError(f"{len(data)} bytes found, {dataset.chunk_bytes} expected")
        return data

    def close(self) -> None:
        """Close the file if this object opened it."""
        self._source.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _open(
    src: Source, limits: Limits, digest: str | None, keys: Mapping[bytes, bytes] | None
) -> tuple[Header, Manifest]:
    first = src.read(0, FIRST_READ)
    header = headers.unpack(first[: headers.SIZE])
    _check_trust(header, digest, keys)
    size = src.size()
    if size != header.file_length:
        raise IntegrityError(f"{size} bytes found, {header.file_length} expected: {_change(src, header, size)}")
    if max(header.manifest_plain, header.manifest_stored) > limits.manifest:
        declared = max(header.manifest_plain, header.manifest_stored)
        raise LimitError(f"a manifest of {declared} bytes; the limit is {limits.manifest}")
    block = first[: header.user_block]
    if len(block) < header.user_block:
        block += _exactly(src, len(block), header.user_block - len(block))
    parsed = manifest.parse(_manifest_bytes(block, header), limits)
    index.check(parsed, header, limits)
    return header, parsed


def _change(src: Source, header: Header, size: int) -> str:
    """What happened to a file of the wrong size: HDF5 tools write the new size into the superblock, others do not."""
    superblock = src.read(header.user_block, 48)
    first = 28 if superblock[8:9] > b"\1" else 40  # of the end of the file, by the superblock's version
    if superblock[first : first + 8] == size.to_bytes(8, "little"):
        return "another HDF5 tool changed it; take the original, and change cards by 'dsetpack edit'"
    missing = header.file_length - size
    return f"{missing} are missing" if missing > 0 else "bytes were appended"


def _check_spelling(digest: str | None) -> None:
    if digest is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise FormatError(f"digest={digest!r}: 'sha256:' and 64 hexadecimal digits in lower case expected")


def _check_trust(header: Header, digest: str | None, keys: Mapping[bytes, bytes] | None) -> None:
    """Check what the caller asks for; the header's digest has yet to be compared with the manifest's bytes."""
    if digest not in (None, spell_id(header.digest)):
        raise IntegrityError(f"another file: digest {spell_id(header.digest)} found, {digest} expected")
    if keys is not None:
        signature.check(header, keys)


def _manifest_bytes(block: bytes, header: Header) -> bytes:
    end = headers.SIZE + header.manifest_stored
    stored = block[headers.SIZE : end]
    if hashlib.sha256(stored).digest() != header.digest:
        raise IntegrityError("the manifest is damaged: its digest is not the header's")
    if any(block[end:]):
        raise IntegrityError("the padding after the manifest is not zero")
    with at("manifest"):
        return manifest.decompress(stored, header.manifest_plain)


def _exactly(src: Source, offset: int, length: int) -> bytes:
    data = src.read(offset, length)
    if len(data) != length:
        raise IntegrityError(f"{len(data)} bytes found at {offset}, {length} expected")
    return data


def _gaps(parsed: Manifest, header: Header) -> Iterator[tuple[int, int]]:
    """File ranges after the user block that no chunk covers, in order."""
    end = header.user_block
    for chunk in sorted((c for d in parsed.datasets.values() for c in d.chunks), key=lambda c: c.offset):
        start = header.user_block + chunk.offset
        if start > end:
            yield end, start
        end = start + chunk.length
    if end < header.file_length:
        yield end, header.file_length

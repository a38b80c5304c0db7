"""A pack file taken apart, changed, and put together again with correct digests around the change.

This module shares no code with the reader's header and manifest modules; it follows SPEC.md.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import zstandard

from dsetpack.formats.hdf5_patch import behind, lookup3

MAGIC = b"\x8aDPK\r\n\x1a\n"
Json = dict[str, Any]
Made = Callable[[h5py.File, str, bytes], int]
OPEN: list[h5py.h5d.DatasetID] = []
"""Datasets without a name stay in the file only while they are open."""


def frame(data: bytes, dictionary: bytes = b"", **options: bool) -> bytes:
    """A zstd frame, level 19, with content size and checksum unless told otherwise."""
    raw = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if dictionary else None
    settings = {"write_checksum": True, "write_content_size": True, **options}
    return zstandard.ZstdCompressor(level=19, dict_data=raw, **settings).compress(data)


def header(**fields: Any) -> bytes:
    """A header of 256 bytes with a correct CRC-32."""
    crc = fields.pop("crc", None)
    body = struct.pack(
        "<8sHHIQQQQ32s32s64s",
        fields.pop("magic", MAGIC),
        fields.pop("major", 1),
        fields.pop("minor", 0),
        fields.pop("reserved", 0),
        fields.pop("user_block"),
        fields.pop("file_length"),
        fields.pop("stored"),
        fields.pop("plain"),
        fields.pop("digest"),
        fields.pop("key_id", bytes(32)),
        fields.pop("signature", bytes(64)),
    )
    body = body + fields.pop("zeros", bytes(252 - len(body)))
    assert not fields, fields
    return body + struct.pack("<I", zlib.crc32(body) if crc is None else crc)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass
class Draft:
    """A manifest as plain JSON values, and the bytes after the user block."""

    manifest: Json
    tail: bytes

    def copy(self) -> Draft:
        return Draft(copy.deepcopy(self.manifest), self.tail)

    def change(self, edit: Callable[[Json], object]) -> Draft:
        """A copy with a changed manifest."""
        made = self.copy()
        edit(made.manifest)
        return made

    def chunks(self) -> list[Json]:
        return [chunk for dataset in self.manifest["datasets"].values() for chunk in dataset["chunks"]]

    def digest_all(self) -> None:
        """Set the correct digest of every chunk that lies in the file, and of the rest."""
        known = [chunk for chunk in self.chunks() if type(chunk["offset"]) is int]
        for chunk in known:
            start = chunk["offset"]
            chunk["sha256"] = hashlib.sha256(self.tail[max(start, 0) : max(start + chunk["length"], 0)]).hexdigest()
        rest, end = hashlib.sha256(), 0
        for chunk in sorted(known, key=lambda c: c["offset"]):
            rest.update(self.tail[end : max(chunk["offset"], end)])
            end = chunk["offset"] + chunk["length"]
        rest.update(self.tail[end:])
        self.manifest["rest"] = rest.hexdigest()

    def file(
        self,
        *,
        text: bytes | None = None,
        packed: bytes | None = None,
        padding: bytes = b"\0",
        superblock: bool = True,
        digests: bool = True,
        **lies: Any,
    ) -> bytes:
        """The file's bytes.

        Args:
            text: the manifest's JSON, if not the canonical one.
            packed: the manifest's frame, if it is not made from the JSON.
            padding: what fills the user block.
            superblock: whether the HDF5 superblock records the user block's size.
            digests: whether to correct the digests of chunks and rest.
            **lies: header fields with wrong values.
        """
        size = lies.get("user_block", 0)
        needed = size or 512
        tail = self.tail
        while True:
            if superblock:
                tail = behind(self.tail, needed)
            made = Draft(copy.deepcopy(self.manifest), tail)
            if digests:
                made.digest_all()
            plain = canonical(made.manifest) if text is None else text
            data = frame(plain) if packed is None else packed
            block = max(512, 1 << (256 + len(data) - 1).bit_length())
            if size or block <= needed:
                break
            needed = block
        right = {
            "user_block": needed,
            "file_length": needed + len(tail),
            "stored": len(data),
            "plain": len(plain),
            "digest": hashlib.sha256(data).digest(),
        }
        front = header(**(right | lies)) + data
        return front + (padding * needed)[: max(0, needed - len(front))] + tail


def entry(offsets: list[tuple[int, int]], values: np.ndarray, encodings: list[Json], rows: int | None = None) -> Json:
    """A dataset of the index."""
    shape = list(values.shape) or [1]
    return {
        "dtype": values.dtype.name,
        "shape": shape,
        "chunk": [rows or shape[0], *shape[1:]],
        "encodings": encodings,
        "chunks": [{"offset": at, "length": length, "sha256": "0" * 64} for at, length in offsets],
    }


ZSTD = {"name": "zstd", "configuration": {"level": 19}}


def draft(
    tensors: dict[str, np.ndarray],
    card: Json,
    part: Json,
    special: dict[str, Made] | None = None,
    *,
    compressed: bool = True,
) -> Draft:
    """A pack with one dataset per tensor and one chunk per dataset.

    Args:
        tensors: the tensors by name; they are stored as they are.
        card: the manifest's card.
        part: the only part.
        special: functions that make the dataset of this name in the HDF5 file and return the chunk's place. Names
            that are not tensors are made last.
        compressed: whether chunks are zstd frames.
    """
    special = special or {}
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(block_size=1 << 16, backing_store=False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_meta_block_size(1)
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    creation.set_file_space_strategy(h5py.h5f.FSPACE_STRATEGY_NONE, False, 1)
    datasets = {}
    with h5py.File(h5py.h5f.create(b"draft", h5py.h5f.ACC_TRUNC, creation, access)) as file:
        for name, values in sorted(tensors.items()):
            data = frame(values.tobytes()) if compressed else values.tobytes()
            filters = ((32015, (19,)),) if compressed else ()
            made = special.get(name)
            at = made(file, name, data) if made else plain_dataset(file, name, data, values, filters=filters)
            datasets[name] = entry([(at, len(data))], values, [ZSTD] if compressed else [])
        for name, made in special.items():
            if name not in tensors:
                made(file, name, b"")
        file.flush()
        tail = timeless(file.id.get_file_image())
    index = {
        name: {"dtype": values.dtype.name, "shape": list(values.shape), "dataset": name}
        for name, values in tensors.items()
    }
    return Draft({"card": card, "parts": [part], "tensors": index, "datasets": datasets, "rest": "0" * 64}, tail)


def plain_dataset(
    file: h5py.File,
    name: str,
    data: bytes,
    values: np.ndarray,
    *,
    dtype: str | h5py.h5t.TypeID | None = None,
    maxshape: tuple[int, ...] | None = None,
    filters: tuple[tuple[int, tuple[int, ...]], ...] = ((32015, (19,)),),
    mask: int = 0,
) -> int:
    """Make a dataset honestly, unless an argument lies; return the chunk's place."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(values.shape)
    creation.set_obj_track_times(False)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    for number, parameters in filters:
        creation.set_filter(number, h5py.h5z.FLAG_OPTIONAL, parameters)
    kind = dtype if isinstance(dtype, h5py.h5t.TypeID) else h5py.h5t.py_create(np.dtype(dtype or values.dtype))
    space = h5py.h5s.create_simple(values.shape, maxshape or values.shape)
    made = h5py.h5d.create(file.id, name.encode() if name else None, kind, space, creation)
    OPEN.append(made)
    made.write_direct_chunk((0,) * values.ndim, data, mask)
    return int(made.get_chunk_info(0).byte_offset)


def timeless(image: bytes) -> bytes:
    """The HDF5 file with all times in its object headers (version 2) set to zero.

    The library writes times unless it is told not to, and there is no way to tell it for a named type.
    """
    data, at = bytearray(image), -1
    while (at := data.find(b"OHDR\x02", at + 1)) >= 0:
        flags = data[at + 5]
        if flags & 0x20:
            data[at + 6 : at + 22] = bytes(16)
            start = at + 22 + (4 if flags & 0x10 else 0)
            first = start + (1 << (flags & 3))
            end = first + int.from_bytes(data[start:first], "little")
            data[end : end + 4] = struct.pack("<I", lookup3(bytes(data[at:end])))
    return bytes(data)


def hidden(file: h5py.File, data: bytes) -> int:
    """Write the chunk's bytes into the file without a name."""
    return plain_dataset(file, "", data, np.zeros(len(data), np.uint8), filters=())

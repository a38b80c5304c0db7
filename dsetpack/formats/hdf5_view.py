"""Check that the HDF5 view of a file agrees with its index. ``verify`` runs this as a separate process.

    python -m dsetpack.formats.hdf5_view FILE SECONDS BYTES LIMITS

It looks at metadata only: links, types, shapes, filters, attributes and the place of every chunk. No data is read
through the HDF5 library, and no link out of the file is followed. Exit status 0: they agree. 1: the output says where
they differ. 3: h5py is missing.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dsetpack.formats import index
from dsetpack.formats.encodings import Encoding
from dsetpack.formats.encodings.quantize import Quantize
from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.formats.hdf5 import NO_LIBRARY, SHUFFLE_FILTER, ZSTD_FILTER
from dsetpack.formats.header import Header
from dsetpack.formats.limits import Limits
from dsetpack.formats.manifest import DatasetEntry, Manifest
from dsetpack.formats.model import printable
from dsetpack.formats.reader import Reader

_SUPERBLOCK = struct.Struct("<8s4BQ8xQ")


def check_view(path: str, limits: Limits) -> None:
    """Compare the HDF5 view of a file with its index.

    Raises:
        IntegrityError: if they differ; the message says where.
        OSError, RuntimeError: if the HDF5 library cannot read the file.
    """
    import h5py

    with Reader(path, limits=limits) as reader:
        _check_superblock(Path(path), reader.header)
        with h5py.File(path, "r") as file:
            if len(file.attrs):
                raise IntegrityError(f"attributes of the root group that nobody wrote: {sorted(file.attrs)}")
            for name in file:
                _check_link(file, name)
            if set(file) != set(reader.manifest.datasets):
                raise IntegrityError(f"datasets {sorted(file)} found, {sorted(reader.manifest.datasets)} expected")
            for name, dataset in reader.manifest.datasets.items():
                _check_dataset(file[name], dataset, _attributes(name, reader.manifest), reader.header.user_block)


def _check_superblock(path: Path, header: Header) -> None:
    """Check that the HDF5 file begins where the user block ends, and ends where the file ends: nothing follows it."""
    with path.open("rb") as file:
        file.seek(header.user_block)
        found = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size).ljust(_SUPERBLOCK.size, b"\0"))
    # signature; version 3, 8-byte offsets and lengths, closed; base; end
    expected = (b"\x89HDF\r\n\x1a\n", 3, 8, 8, 0, header.user_block, header.file_length)
    if found != expected:
        raise IntegrityError(f"superblock {found} found, {expected} expected")


def _check_link(file: Any, name: str) -> None:
    """Accept only hard links to datasets with data in this file; nothing else is followed."""
    import h5py

    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise IntegrityError(f"{name!r} is a link ({type(link).__name__}), a dataset expected; it was not followed")
    found = h5py.h5o.open(file.id, name.encode())
    if not isinstance(found, h5py.h5d.DatasetID):
        raise IntegrityError(f"{name!r} is a {type(found).__name__}, a dataset expected")
    creation = found.get_create_plist()
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        raise IntegrityError(f"{name!r} is a virtual dataset; it was not followed")
    if creation.get_external_count():
        raise IntegrityError(f"{name!r} keeps its data in external storage; it was not followed")
    if creation.get_layout() != h5py.h5d.CHUNKED:
        raise IntegrityError(f"{name!r} is not chunked")


def _check_dataset(found: Any, expected: DatasetEntry, attributes: dict[str, float], user_block: int) -> None:
    import h5py

    name, dtype = found.name.lstrip("/"), np.dtype(expected.dtype).newbyteorder("<")
    if not found.id.get_type().equal(h5py.h5t.py_create(dtype)):
        raise IntegrityError(f"dataset {name!r}: dtype {found.dtype} found, the index says {expected.dtype}")
    facts = {
        "shape": (found.shape, expected.shape),
        "largest shape": (found.maxshape, expected.shape),
        "chunk": (found.chunks, expected.chunk),
        "filters": (_filters(found), [_filter(e, dtype.itemsize) for e in expected.encodings]),
        "attributes": (_found_attributes(found), attributes),
        "chunks": (_chunks(found, user_block), _expected_chunks(expected)),
    }
    for fact, (there, index_says) in facts.items():
        if there != index_says:
            raise IntegrityError(f"dataset {name!r}: {fact} {there} found, the index says {index_says}")


def _filters(found: Any) -> list[tuple[int, tuple[int, ...]]]:
    """The number and parameters of each filter: the parameter of shuffle affects what is read."""
    creation = found.id.get_create_plist()
    filters = [creation.get_filter(n) for n in range(creation.get_nfilters())]
    return [(number, tuple(values)) for number, _, values, _ in filters]


def _filter(encoding: Encoding, itemsize: int) -> tuple[int, tuple[int, ...]]:
    if encoding.name == "shuffle":
        return SHUFFLE_FILTER, (itemsize,)
    return ZSTD_FILTER, (int(str(encoding.configuration.get("level", 19))),)


def _found_attributes(found: Any) -> dict[str, Any]:
    """The values of attributes that are one float32; only the type of any other, whose value is not read."""
    import h5py

    values: dict[str, Any] = {}
    for name in found.attrs:
        attribute = h5py.h5a.open(found.id, name.encode())
        scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
        plain = scalar and attribute.get_type().equal(h5py.h5t.IEEE_F32LE)
        values[name] = float(found.attrs[name]) if plain else str(attribute.dtype)
    return values


def _chunks(found: Any, user_block: int) -> list[tuple[Any, ...]]:
    infos = [found.id.get_chunk_info(n) for n in range(found.id.get_num_chunks())]
    start = user_block if _places_count_the_user_block() else 0
    return [(tuple(i.chunk_offset), i.filter_mask, i.byte_offset - start, i.size) for i in infos]


@cache
def _places_count_the_user_block() -> bool:
    """Whether HDF5 gives a chunk's place in the whole file (newer versions), not behind the user block: try it."""
    import h5py

    buffer, mark = io.BytesIO(), b"dsetpack"
    with h5py.File(buffer, "w", userblock_size=512) as file:
        made = file.create_dataset("x", data=np.frombuffer(mark, np.uint8), chunks=(len(mark),))
        at = made.id.get_chunk_info(0).byte_offset
    return buffer.getvalue()[at : at + len(mark)] == mark


def _expected_chunks(expected: DatasetEntry) -> list[tuple[Any, ...]]:
    zeros = (0,) * (len(expected.shape) - 1)
    return [((n * expected.chunk[0], *zeros), 0, c.offset, c.length) for n, c in enumerate(expected.chunks)]


def _attributes(name: str, manifest: Manifest) -> dict[str, float]:
    """``scale_factor`` and ``add_offset`` if one scale serves the whole dataset."""
    tensors = [t for t in manifest.tensors.values() if t.dataset == name]
    steps = [step for t in tensors for step in index.array_codecs(t)]
    if len(tensors) != 1 or not steps or not isinstance(steps[0], Quantize):
        return {}
    scale, offset = steps[0].scale, steps[0].offset
    if not isinstance(scale, float) or not isinstance(offset, float):
        return {}
    return {"scale_factor": float(np.float32(scale)), "add_offset": float(np.float32(offset))}


def _limit(seconds: int, size: int) -> None:
    """Limit this process's time and memory, if the system can."""
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, size)):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def difference(path: str, limits: Limits) -> str:
    """Where the view differs from the index, or why it cannot be read; empty if they agree."""
    import h5py

    try:
        check_view(path, limits)
    except DsetpackError as error:
        return printable(str(error))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # what h5py makes of HDF5's errors
        return printable(f"HDF5 {h5py.version.hdf5_version} cannot read it: {error}")
    return ""


def main(path: str, seconds: str, size: str, limits: str) -> int:
    """Check one file under limits; print what differs."""
    try:
        import h5py  # noqa: F401  (before memory is limited)
    except ImportError:
        return NO_LIBRARY
    _limit(int(seconds), int(size))
    found = difference(path, Limits(**json.loads(limits)))
    sys.stdout.buffer.write(found.encode())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

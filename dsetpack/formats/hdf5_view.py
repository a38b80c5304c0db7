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
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dsetpack.formats import layout
from dsetpack.formats.encodings import Encoding
from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.formats.hdf5 import (
    NO_LIBRARY,
    REFERENCES,
    SCALE,
    SCALE_TYPE,
    SHUFFLE_FILTER,
    USES,
    ZSTD_FILTER,
    reference_type,
    scale_chunk,
    scale_name,
    use_type,
)
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
            datasets, tensors = reader.manifest.datasets, layout.by_dataset(reader.manifest.tensors)
            axes = _axes(set(file), reader.manifest)
            for name in file:
                _check_link(file, name)
            if set(file) != {*datasets, *axes.lengths}:
                raise IntegrityError(f"datasets {sorted(file)} found, {sorted({*datasets, *axes.lengths})} expected")
            places = {h5py.h5o.get_info(file[name].id).addr: name for name in file}
            for name, dataset in datasets.items():
                attributes = layout.attributes(tensors.get(name, [])) | axes.of_dataset(name)
                _check_dataset(_Found(file[name], places), dataset, attributes, reader.header.user_block)
            for name, length in axes.lengths.items():
                _check_scale(_Found(file[name], places), length, axes.of_scale(name))


def _check_superblock(path: Path, header: Header) -> None:
    """Check that the HDF5 file begins where the user block ends, and ends where the file ends: nothing follows it."""
    with path.open("rb") as file:
        file.seek(header.user_block)
        found = _SUPERBLOCK.unpack(file.read(_SUPERBLOCK.size).ljust(_SUPERBLOCK.size, b"\0"))
    # signature; version 3, 8-byte offsets and lengths, closed; base; end
    expected = (b"\x89HDF\r\n\x1a\n", 3, 8, 8, 0, header.user_block, header.file_length)
    if found != expected:
        raise IntegrityError(f"superblock {found} found, {expected} expected")


@dataclass(frozen=True)
class _Axes:
    """The axes of datasets by name, and of each axis the length and its uses; none in a plain layout."""

    named: dict[str, tuple[str, ...]]
    lengths: dict[str, int]
    uses: dict[str, list[tuple[str, int]]]

    def of_dataset(self, name: str) -> dict[str, Any]:
        """The attribute that ties a dataset to the scales of its axes."""
        return {REFERENCES: [[axis] for axis in self.named[name]]} if self.named else {}

    def of_scale(self, axis: str) -> dict[str, Any]:
        """The attributes of a scale."""
        return {"CLASS": SCALE, "NAME": scale_name(self.lengths[axis]), USES: self.uses[axis]}


def _axes(found: set[str], manifest: Manifest) -> _Axes:
    """The axes that must have a scale: all of them, if there is a scale of any."""
    shapes = {name: dataset.shape for name, dataset in manifest.datasets.items()}
    axes = _Axes(layout.axes(manifest.parts, manifest.tensors, shapes), {}, defaultdict(list))
    for name, named in axes.named.items():
        for at, axis in enumerate(named):
            axes.lengths[axis] = shapes[name][at]
            axes.uses[axis].append((name, at))
    return axes if found & set(axes.lengths) else _Axes({}, {}, {})


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


def _check_dataset(found: _Found, expected: DatasetEntry, attributes: dict[str, Any], user_block: int) -> None:
    dtype = np.dtype(expected.dtype).newbyteorder("<")
    if not found.has_type(dtype):
        raise IntegrityError(f"dataset {found.name!r}: dtype {found.made.dtype} found, the index says {expected.dtype}")
    facts = {
        **found.shapes(expected.shape),
        "chunk": (found.made.chunks, expected.chunk),
        "filters": (_filters(found.made), [_filter(e, dtype.itemsize) for e in expected.encodings]),
        "attributes": (found.attributes(attributes), attributes),
        "chunks": (_chunks(found.made, user_block), _expected_chunks(expected)),
    }
    for fact, (there, index_says) in facts.items():
        if there != index_says:
            raise IntegrityError(f"dataset {found.name!r}: {fact} {there} found, the index says {index_says}")


def _check_scale(found: _Found, length: int, attributes: dict[str, Any]) -> None:
    """Check a dataset that names an axis: it holds no byte of data, and its attributes are those that it must have."""
    import h5py

    creation = found.made.id.get_create_plist()
    facts = {
        "netCDF's type": (found.has_type(np.dtype(SCALE_TYPE)), True),
        **found.shapes((length,)),
        "filters": (_filters(found.made), []),
        "chunk": (found.made.chunks, scale_chunk(length)),
        "chunks": (found.made.id.get_num_chunks(), 0),
        "default fill value": (creation.fill_value_defined() == h5py.h5d.FILL_VALUE_DEFAULT, True),
        "attributes": (found.attributes(attributes), attributes),
    }
    for fact, (there, expected) in facts.items():
        if there != expected:
            raise IntegrityError(f"axis {found.name!r}: {fact} {there} found, {expected} expected")


@dataclass(frozen=True)
class _Found:
    """A dataset of the file; ``places`` has the names of all of them by where they lie."""

    made: Any
    places: dict[int, str]

    @property
    def name(self) -> str:
        return str(self.made.name).lstrip("/")

    def has_type(self, dtype: np.dtype[Any]) -> bool:
        import h5py

        return bool(self.made.id.get_type().equal(h5py.h5t.py_create(dtype)))

    def shapes(self, expected: tuple[int, ...]) -> dict[str, tuple[Any, Any]]:
        return {"shape": (self.made.shape, expected), "largest shape": (self.made.maxshape, expected)}

    def attributes(self, expected: dict[str, Any]) -> dict[str, Any]:
        """The values of attributes of the type and shape that one of this name must have, or that are one float32.

        Of any other there is only the type: its value is not read.
        """
        import h5py

        values: dict[str, Any] = {}
        for name in self.made.attrs:
            attribute = h5py.h5a.open(self.made.id, name.encode())
            read = _is(attribute, *_form(name, expected.get(name)))
            values[name] = self._value(self.made.attrs[name]) if read else str(attribute.dtype)
        return values

    def _value(self, value: Any) -> Any:
        """What an attribute says, with names for references."""
        if isinstance(value, bytes):
            return bytes(value)
        if not isinstance(value, np.ndarray):
            return float(value)
        if value.dtype.names:
            return [(self._target(reference), int(at)) for reference, at in value]
        return [[self._target(reference) for reference in references] for references in value]

    def _target(self, reference: Any) -> str:
        """The name of the dataset that a reference leads to; empty if it has none."""
        import h5py

        found = h5py.h5r.dereference(reference, self.made.id) if reference else None
        return "" if found is None else self.places.get(h5py.h5o.get_info(found).addr, "")


def _filters(found: Any) -> list[tuple[int, tuple[int, ...]]]:
    """The number and parameters of each filter: the parameter of shuffle affects what is read."""
    creation = found.id.get_create_plist()
    filters = [creation.get_filter(n) for n in range(creation.get_nfilters())]
    return [(number, tuple(values)) for number, _, values, _ in filters]


def _filter(encoding: Encoding, itemsize: int) -> tuple[int, tuple[int, ...]]:
    if encoding.name == "shuffle":
        return SHUFFLE_FILTER, (itemsize,)
    return ZSTD_FILTER, (int(str(encoding.configuration.get("level", 19))),)


def _form(name: str, value: Any) -> tuple[Any, tuple[int, ...]]:
    """The type and the shape of an attribute with this name and value: without one, those of a scale factor."""
    import h5py

    if name == REFERENCES and value:
        return h5py.h5t.py_create(reference_type(), logical=True), (len(value),)
    if name == USES and value:
        return h5py.h5t.py_create(use_type(), logical=True), (len(value),)
    if isinstance(value, bytes):
        text = h5py.h5t.C_S1.copy()
        text.set_size(len(value) + 1)
        return text, ()
    return h5py.h5t.IEEE_F32LE, ()


def _is(attribute: Any, stored_type: Any, shape: tuple[int, ...]) -> bool:
    import h5py

    space = attribute.get_space()
    scalar = space.get_simple_extent_type() == h5py.h5s.SCALAR
    return scalar == (not shape) and attribute.shape == shape and bool(attribute.get_type().equal(stored_type))


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

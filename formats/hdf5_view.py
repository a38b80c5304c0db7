"""Does the HDF5 view of a file agree with its index?  Run as a process of its own by ``verify``.

    python -m dsetpack.formats.hdf5_view FILE SECONDS BYTES

It looks at metadata only: links, types, shapes, filters, attributes and the place of every chunk. No data is read
through the HDF5 library, and no link out of the file is followed. Status 0: they agree. 1: the first line of the
output says where they do not.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from dsetpack.formats import index
from dsetpack.formats.encodings.quantize import Codec as Quantize
from dsetpack.formats.errors import IntegrityError
from dsetpack.formats.hdf5 import SHUFFLE_FILTER, ZSTD_FILTER
from dsetpack.formats.manifest import Dataset, Manifest
from dsetpack.formats.reader import Reader


def check_view(path: str) -> None:
    """Compare the HDF5 view of a file with its index.

    Raises:
        IntegrityError: naming the dataset and what differs.
    """
    import h5py

    with Reader(path) as reader, h5py.File(path, "r") as file:
        if file.userblock_size != reader.header.user_block:
            raise IntegrityError(f"user block of {file.userblock_size} bytes, {reader.header.user_block} expected")
        if len(file.attrs):
            raise IntegrityError(f"attributes of the root group that nobody wrote: {sorted(file.attrs)}")
        for name in file:
            _check_link(file, name)
        if set(file) != set(reader.manifest.datasets):
            raise IntegrityError(f"datasets {sorted(file)} found, {sorted(reader.manifest.datasets)} expected")
        for name, dataset in reader.manifest.datasets.items():
            _check_dataset(file[name], dataset, _attributes(name, reader.manifest), reader.header.user_block)


def _check_link(file: Any, name: str) -> None:
    """Only hard links to datasets with data in this file: nothing else is opened."""
    import h5py

    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise IntegrityError(f"{name!r} is a link out of the file ({type(link).__name__}); it was not followed")
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


def _check_dataset(found: Any, expected: Dataset, attributes: dict[str, float], user_block: int) -> None:
    name = found.name.lstrip("/")
    facts = {
        "dtype": (found.dtype.str, np.dtype(expected.dtype).newbyteorder("<").str),
        "shape": (found.shape, expected.shape),
        "largest shape": (found.maxshape, expected.shape),
        "chunk": (found.chunks, expected.chunk),
        "filters": (_filters(found), [_FILTERS[e.name] for e in expected.encodings]),
        "attributes": ({k: float(v) for k, v in found.attrs.items()}, attributes),
        "chunks": (_chunks(found, user_block), _expected_chunks(expected)),
    }
    for fact, (there, index_says) in facts.items():
        if there != index_says:
            raise IntegrityError(f"dataset {name!r}: {fact} {there} found, the index says {index_says}")


_FILTERS = {"shuffle": SHUFFLE_FILTER, "zstd": ZSTD_FILTER}


def _filters(found: Any) -> list[int]:
    creation = found.id.get_create_plist()
    return [creation.get_filter(n)[0] for n in range(creation.get_nfilters())]


def _chunks(found: Any, user_block: int) -> list[tuple[Any, ...]]:
    infos = [found.id.get_chunk_info(n) for n in range(found.id.get_num_chunks())]
    return [(tuple(i.chunk_offset), i.filter_mask, i.byte_offset - user_block, i.size) for i in infos]


def _expected_chunks(expected: Dataset) -> list[tuple[Any, ...]]:
    zeros = (0,) * (len(expected.shape) - 1)
    return [((n * expected.chunk[0], *zeros), 0, c.offset, c.length) for n, c in enumerate(expected.chunks)]


def _attributes(name: str, manifest: Manifest) -> dict[str, float]:
    """``scale_factor`` and ``add_offset`` where one scale serves the whole dataset."""

    tensors = [t for t in manifest.tensors.values() if t.dataset == name]
    steps = [step for t in tensors for step in index.array_codecs(t)]
    if len(tensors) != 1 or not steps or not isinstance(steps[0], Quantize) or isinstance(steps[0].scale, str | None):
        return {}
    return {"scale_factor": float(np.float32(steps[0].scale)), "add_offset": float(np.float32(steps[0].offset))}  # type: ignore[arg-type]


def _limit(seconds: int, size: int) -> None:
    """Bound this process's time and memory, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main(path: str, seconds: str, size: str) -> int:
    """Check one file under limits; print what differs."""
    _limit(int(seconds), int(size))
    try:
        check_view(path)
    except IntegrityError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

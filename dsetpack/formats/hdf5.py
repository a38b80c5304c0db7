"""The HDF5 part of a file: chunks under the public zstd filter, so that every HDF5 tool can read the tensors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsetpack.formats.encodings import ByteCodec
from dsetpack.formats.hdf5_patch import with_filter, without_times

ZSTD_FILTER = 32015
STAND_IN = 65015
"""A filter number for private use, which no plugin should have; see ``hdf5_patch``."""
SHUFFLE_FILTER = 2
NO_LIBRARY = 3
"""The exit status of ``hdf5_view`` if h5py is missing."""
_NUMBERS = itertools.count()
"""Numbers for the files in memory, one per file."""


@dataclass(frozen=True)
class StoredDataset:
    """A dataset ready to be written: its chunks are already encoded."""

    dtype: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    codecs: tuple[ByteCodec, ...]
    chunks: tuple[bytes, ...]
    attributes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """An HDF5 file in memory, and where its chunks lie, counted from the end of the user block."""

    data: bytes
    offsets: dict[str, tuple[int, ...]]


def build(datasets: Mapping[str, StoredDataset]) -> Image:
    """Write datasets into an HDF5 file in memory, in sorted order and without times: equal input gives equal bytes.

    The file has no user block yet; ``hdf5_patch.behind`` makes the changes that one needs.
    """
    from h5py._objects import phil

    with phil:  # h5py takes its lock for each call; before 3.16, that is too little for several files in memory
        return _build(datasets)


def _build(datasets: Mapping[str, StoredDataset]) -> Image:
    import h5py

    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(block_size=1 << 16, backing_store=False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_meta_block_size(1)  # reserve no blocks of 2 KB for metadata
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    creation.set_file_space_strategy(h5py.h5f.FSPACE_STRATEGY_NONE, False, 1)  # leave no holes
    name = b"dsetpack%d" % next(_NUMBERS)  # HDF5 takes two open files in memory with one name for the same file
    with h5py.File(h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, creation, access)) as file:
        offsets = {key: _write(file, key, datasets[key]) for key in sorted(datasets)}
        compressed = [key for key, dataset in datasets.items() if any(c.name == "zstd" for c in dataset.codecs)]
        headers = [h5py.h5o.get_info(file[key].id).addr for key in compressed]
        file.flush()
        return Image(with_filter(without_times(file.id.get_file_image()), headers, STAND_IN, ZSTD_FILTER), offsets)


def _write(file: Any, name: str, dataset: StoredDataset) -> tuple[int, ...]:
    """Create one dataset, write its chunks as they are, and return their offsets."""
    import h5py

    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(dataset.chunk)
    creation.set_obj_track_times(False)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    for codec in dataset.codecs:
        if codec.name == "shuffle":
            creation.set_shuffle()
        else:
            creation.set_filter(STAND_IN, h5py.h5z.FLAG_OPTIONAL, (getattr(codec, "level", 0),))
    stored_type = h5py.h5t.py_create(np.dtype(dataset.dtype).newbyteorder("<"))
    space = h5py.h5s.create_simple(dataset.shape)
    made = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), stored_type, space, creation))
    for number, data in enumerate(dataset.chunks):
        made.id.write_direct_chunk((number * dataset.chunk[0], *[0] * (len(dataset.shape) - 1)), data)
    for key, value in sorted(dataset.attributes.items()):
        made.attrs.create(key, value, dtype="<f4")
    infos = [made.id.get_chunk_info(n) for n in range(len(dataset.chunks))]
    return tuple(info.byte_offset for info in infos)

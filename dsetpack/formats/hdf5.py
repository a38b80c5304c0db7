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
SCALE = b"DIMENSION_SCALE"
"""The class of a dataset that stands for an axis (HDF5 Dimension Scale Specification)."""
SCALE_TYPE = ">f4"
"""The type that netCDF gives to dimensions; none of its values exists."""
REFERENCES, USES = "DIMENSION_LIST", "REFERENCE_LIST"
"""The attributes that tie the two: of a dataset, the scale of each axis; of a scale, the axes that it stands for."""
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
    axes: tuple[str, ...] = ()
    """The names of the axes; all datasets of a file have them, or none. Axes of one name have one length."""


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
        _name_axes(file, {key: datasets[key].axes for key in sorted(datasets) if datasets[key].axes})
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


def scale_name(length: int) -> bytes:
    """What netCDF-4 calls a dataset that stands for a dimension of this length and has no values."""
    return b"This is a netCDF dimension but not a netCDF variable.%10d" % length


def scale_chunk(length: int) -> tuple[int]:
    """The chunk shape of a scale, of which no chunk exists: HDF5 has none of 4 GiB."""
    return (min(length, 1 << 20),)


def reference_type() -> np.dtype[Any]:
    """The type of one element of a dataset's ``DIMENSION_LIST``: references to scales."""
    import h5py

    found: np.dtype[Any] = h5py.vlen_dtype(h5py.ref_dtype)
    return found


def use_type() -> np.dtype[Any]:
    """The type of one element of a scale's ``REFERENCE_LIST``: a dataset and the number of an axis."""
    import h5py

    return np.dtype([("dataset", h5py.ref_dtype), ("dimension", "<i4")])


def _name_axes(file: Any, axes: Mapping[str, tuple[str, ...]]) -> None:
    """Make a scale for each name, and tie it to the axes of that name.

    ``h5ds.attach_scale`` would do that too, but it writes each attribute anew for every axis, and the old ones remain
    in the file.
    """
    import h5py

    lengths = {name: n for key, names in axes.items() for name, n in zip(names, file[key].shape, strict=True)}
    scales = {name: _write_scale(file, name, lengths[name]) for name in sorted(lengths)}
    uses: dict[str, list[tuple[Any, int]]] = {name: [] for name in scales}
    for key, names in axes.items():
        references = np.empty(len(names), object)
        for at, name in enumerate(names):
            references[at] = np.array([scales[name].ref], h5py.ref_dtype)
            uses[name].append((file[key].ref, at))
        file[key].attrs.create(REFERENCES, references, dtype=reference_type())
    for name, scale in scales.items():
        scale.attrs.create(USES, np.array(uses[name], use_type()), dtype=use_type())


def _write_scale(file: Any, name: str, length: int) -> Any:
    """Create a dataset without data that stands for an axis.

    It is chunked, and has no chunk: behind a user block, HDF5 gives data that a contiguous one does not have a place.
    """
    import h5py

    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    creation.set_chunk(scale_chunk(length))
    stored_type, space = h5py.h5t.py_create(np.dtype(SCALE_TYPE)), h5py.h5s.create_simple((length,))
    made = h5py.h5d.create(file.id, name.encode(), stored_type, space, creation)
    h5py.h5ds.set_scale(made, scale_name(length))
    return h5py.Dataset(made)

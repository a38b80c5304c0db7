"""The HDF5 readers of ``measure/readers.py``, and what runs one of them on one pack.

    python benchmarks/cases/readers.py READER PACK RESULT

The Python of the reader's own environment runs this file, so it imports neither dsetpack nor torch, and no reader
before it is asked for. RESULT becomes an .npz of every array that the reader finds, or a text with the error.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
H5PY, PLUGINS = "h5py==3.16.0", "hdf5plugin==7.1.0"
LONGEST = 300
"""Characters of a message that are kept."""


@dataclass(frozen=True)
class HdfReader:
    """A way to read HDF5.

    Attributes:
        title: its name for people.
        how: what a user writes, in a few words.
        requirements: what its environment has.
        read: from a path to all arrays by name.
    """

    title: str
    how: str
    requirements: tuple[str, ...]
    read: Callable[[Path], Arrays]


def h5py(path: Path) -> Arrays:
    import h5py
    import hdf5plugin  # noqa: F401

    with h5py.File(path) as file:
        return {name: array[...] for name, array in file.items()}


def pytables(path: Path) -> Arrays:
    import hdf5plugin

    os.environ["HDF5_PLUGIN_PATH"] = hdf5plugin.PLUGIN_PATH
    import tables

    with tables.open_file(path) as file:
        return {node._v_name: node[...] for node in file.walk_nodes("/", "Array")}


def h5netcdf(path: Path) -> Arrays:
    import hdf5plugin  # noqa: F401
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf", phony_dims="sort", mask_and_scale=False) as data:
        return {str(name): values.values for name, values in data.variables.items()}


def netcdf4(path: Path) -> Arrays:
    import netCDF4

    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return {name: np.asarray(values[...]) for name, values in file.variables.items()}


def kerchunk(path: Path) -> Arrays:
    import fsspec
    import zarr
    from kerchunk.hdf import SingleHdf5ToZarr

    references = SingleHdf5ToZarr(str(path), inline_threshold=0).translate()
    options = {"fo": references, "asynchronous": True, "remote_options": {"asynchronous": True}}
    store = zarr.storage.FsspecStore(fsspec.filesystem("reference", **options), path="")
    group = zarr.open_group(store, mode="r", zarr_format=2)
    return {name: np.asarray(array[...]) for name, array in group.arrays()}


def pyfive(path: Path) -> Arrays:
    import pyfive

    with pyfive.File(path) as file:
        return {name: file[name][...] for name in file}


def datasets(path: Path) -> Arrays:
    import hdf5plugin  # noqa: F401
    from datasets import load_dataset

    rows = load_dataset("hdf5", data_files=str(path), split="train").with_format("numpy")
    return {name: np.asarray(rows[name]) for name in rows.column_names}


READERS = {
    "h5py": HdfReader("h5py, HDF5 2.0", "`import hdf5plugin`", (H5PY, PLUGINS), h5py),
    "h5py-oldest": HdfReader(
        "h5py, HDF5 1.12", "`import hdf5plugin`", ("h5py==3.8.0", "hdf5plugin==4.1.3", "numpy==1.26.4"), h5py
    ),
    "pytables": HdfReader("PyTables", "`HDF5_PLUGIN_PATH`", ("tables==3.11.1", PLUGINS), pytables),
    "h5netcdf": HdfReader(
        "xarray by h5netcdf",
        '`engine="h5netcdf", phony_dims="sort"`',
        ("xarray==2026.9.0", "h5netcdf==1.8.2", PLUGINS),
        h5netcdf,
    ),
    "netcdf4": HdfReader("netCDF4-python", "its wheel has the filter", ("netCDF4==1.7.5.1.post1",), netcdf4),
    "kerchunk": HdfReader(
        "kerchunk, then zarr", "no filter needed", ("kerchunk==0.2.10", H5PY, "zarr==3.1.6"), kerchunk
    ),
    "pyfive": HdfReader("pyfive", "", ("pyfive==1.3.0", "zstandard==0.25.0"), pyfive),
    "datasets": HdfReader(
        "Hugging Face datasets", '`load_dataset("hdf5")`', ("datasets==5.2.0", H5PY, PLUGINS), datasets
    ),
}
"""The readers by name."""


def first_line(error: BaseException) -> str:
    """The type and first line of an error, without folders."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"(/[\w.+-]+)+/", "", f"{type(error).__name__}: {lines[0] if lines else ''}")[:LONGEST]


def main(reader: str, pack: str, result: str) -> None:
    """Write the arrays, or the error."""
    try:
        found = READERS[reader].read(Path(pack))
        np.savez(result, **found)
    except Exception as error:
        Path(result).with_suffix(".txt").write_text(first_line(error), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

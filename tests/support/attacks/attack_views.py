"""HDF5 parts that lie: the index is sound, but an HDF5 tool would see something else."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from dsetpack.formats.hdf5_patch import behind, lookup3
from tests.support.attacks.dpk_draft import Draft, Made, draft, frame, hidden, plain_dataset

CARD = {"title": "attack", "classes": ["a", "b", "c"], "shape": [1, 2, 2]}
PART = {"kind": "images", "sources": 4, "tensors": {"sources": "sources", "labels": "labels"}}
SOURCES = (np.arange(16, dtype=np.float32) / 16).reshape(4, 1, 2, 2)
LABELS = np.array([0, 1, 2, 0], np.uint8)
CANARY = "/nonexistent/dsetpack-canary"


def viewed(**special: Made) -> Draft:
    return draft({"sources": SOURCES, "labels": LABELS}, CARD, PART, special)


def other(**lies: Any) -> Made:
    """The labels' dataset, made with a lie."""
    return lambda file, name, data: plain_dataset(file, name, data or b"x", lies.pop("values", LABELS), **lies)


def instead(make: Callable[[h5py.File, str], object]) -> Made:
    """Put something else under the labels' name; the index points to bytes without a name."""

    def made(file: h5py.File, name: str, data: bytes) -> int:
        at = hidden(file, data)
        make(file, name)
        return at

    return made


def attributed(dataset: bool, name: str, value: Any) -> Made:
    def made(file: h5py.File, _: str, __: bytes) -> int:
        target = file["labels"] if dataset else file
        target.attrs.create(name, value)
        return 0

    return made


def linked(link: Any) -> Made:
    def make(file: h5py.File, name: str) -> None:
        file[name] = link

    return instead(make)


def outside(path: str) -> Made:
    """A dataset whose bytes lie in another file."""
    return instead(
        lambda file, name: file.create_dataset(name, LABELS.shape, LABELS.dtype, external=[(path, 0, LABELS.nbytes)])
    )


def virtual(path: str, *, growing: bool = False) -> Made:
    """A dataset mapped from another file."""

    def make(file: h5py.File, name: str) -> None:
        if growing:
            layout = h5py.VirtualLayout((1, 4), np.uint8, maxshape=(None, 4))
            source = h5py.VirtualSource(path, "x", (1, 4), maxshape=(None, 4))
            layout[: h5py.h5s.UNLIMITED, :] = source[: h5py.h5s.UNLIMITED, :]
        else:
            layout = h5py.VirtualLayout(LABELS.shape, LABELS.dtype)
            layout[:] = h5py.VirtualSource(path, "x", LABELS.shape)
        file.create_virtual_dataset(name, layout)

    return instead(make)


def views() -> Iterator[tuple[str, bytes, str, str]]:
    def view(name: str, match: str, **special: Made) -> tuple[str, bytes, str, str]:
        return f"view-{name}", viewed(**special).file(), "IntegrityError", match

    yield view("dtype", "dataset 'labels': dtype int8 found, the index says uint8", labels=other(dtype="i1"))
    yield view("dtype-order", "dtype .* found, the index says uint8", labels=other(dtype="V1"))
    enum = h5py.h5t.py_create(h5py.enum_dtype({"a": 0}, "u1"), logical=True)
    yield view("dtype-enum", "dtype uint8 found, the index says uint8", labels=other(dtype=enum))
    shape = other(values=LABELS.reshape(2, 2))
    yield view("shape", r"dataset 'labels': shape \(2, 2\) found, the index says \(4,\)", labels=shape)
    yield view("growing", "largest shape .* found", labels=other(maxshape=(h5py.h5s.UNLIMITED,)))
    yield view("no-filter", "filters .* found", labels=other(filters=()))
    shuffled = other(filters=((2, (8,)), (32015, (19,))))
    yield view("shuffle", "filters .* found", labels=shuffled)
    yield view("filter-mask", "chunks .* found, the index says", labels=other(mask=1))
    yield view("extra-dataset", r"datasets \['extra', 'labels', 'sources'\] found", extra=other())
    yield view("missing-dataset", r"datasets \['sources'\] found", labels=instead(lambda file, name: None))
    yield view("group", "'labels' is a GroupID, a dataset expected", labels=instead(lambda f, n: f.create_group(n)))
    named = instead(lambda file, name: h5py.h5t.STD_U8LE.copy().commit(file.id, name.encode()))
    yield view("named-type", "'labels' is a TypeIntegerID, a dataset expected", labels=named)
    yield view("contiguous", "'labels' is not chunked", labels=instead(lambda f, n: f.create_dataset(n, data=LABELS)))
    yield view("other-chunk", "dataset 'labels': chunks .* found", labels=instead(_twin))
    empty = instead(lambda f, n: f.create_dataset(n, (1 << 42,), "u1", chunks=(1 << 20,)))
    yield view("terabytes", r"shape \(4398046511104,\) found", labels=empty)
    yield view("attribute", "attributes {'units': .*} found", zz=attributed(True, "units", 1.0))
    yield view("scale", "attributes {'scale_factor': 2.0} found", zz=attributed(True, "scale_factor", np.float32(2)))
    wide = attributed(True, "scale_factor", np.float64(2))
    yield view("scale-dtype", "attributes {'scale_factor': 'float64'} found", zz=wide)
    yield view("attribute-text", "attributes {'units': 'object'} found", zz=attributed(True, "units", "metres"))
    yield view(
        "attribute-root", r"attributes of the root group that nobody wrote: \['a'\]", zz=attributed(False, "a", 1)
    )
    soft = linked(h5py.SoftLink("/sources"))
    yield view("soft-link", r"'labels' is a link \(SoftLink\), .*; it was not followed", labels=soft)
    external = linked(h5py.ExternalLink(CANARY, "/x"))
    yield view("external-link", r"'labels' is a link \(ExternalLink\), .*; it was not followed", labels=external)
    yield view("external-storage", "'labels' keeps its data in external storage", labels=outside(CANARY))
    yield view("virtual", "'labels' is a virtual dataset; it was not followed", labels=virtual(CANARY))
    yield view("virtual-growing", "'labels' is a virtual dataset", labels=virtual(CANARY, growing=True))
    yield view("hard-link", "dtype float32 found, the index says uint8", zz=_same_as_sources)
    yield view("loop", "'labels' is a GroupID", labels=instead(lambda file, name: file.__setitem__(name, file["/"])))

    trailing = viewed()
    trailing.tail += b"PK\x05\x06" + bytes(18)
    short = _superblock(trailing, 28, len(trailing.tail) - 22 + 1024)
    yield "view-behind-the-end", short, "IntegrityError", "superblock .* found"
    none = viewed()
    none.tail = b"\0" * 48 + none.tail[48:]
    yield "view-no-hdf5", none.file(superblock=False), "IntegrityError", "superblock .* found"
    broken = viewed()
    broken.tail = broken.tail[:48] + b"\xff" * 60 + broken.tail[108:]
    yield "view-broken", broken.file(), "IntegrityError", "HDF5 .* cannot read it"


def _same_as_sources(file: h5py.File, _: str, __: bytes) -> int:
    """Two names for one dataset."""
    del file["labels"]
    file["labels"] = file["sources"]
    return 0


def _twin(file: h5py.File, name: str) -> None:
    """A dataset with other labels than the index has."""
    plain_dataset(file, name, frame(LABELS[::-1].tobytes()), LABELS)


def _superblock(made: Draft, at: int, value: int) -> bytes:
    """The file with a lie in its superblock and a correct checksum."""
    tail = bytearray(behind(made.tail, 1024))
    tail[at : at + 8] = struct.pack("<Q", value)
    tail[44:48] = struct.pack("<I", lookup3(bytes(tail[:44])))
    return Draft(made.manifest, bytes(tail)).file(superblock=False)

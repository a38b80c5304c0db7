"""Named axes that lie: the index is sound, but an HDF5 tool would see other axes than there are, or something more.

This module shares no code with what writes named axes; it follows SPEC.md, section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

from tests.support.attacks.attack_views import CANARY, viewed
from tests.support.attacks.dpk_draft import OPEN, Made

LENGTHS = {"source": 4, "channel": 1, "height": 2, "width": 2}
AXES = {"labels": ("source",), "sources": ("source", "channel", "height", "width")}
USES = np.dtype([("dataset", h5py.ref_dtype), ("dimension", "<i4")])
Change = Callable[[h5py.File], object]


def scale(file: h5py.File, name: str, length: int, **lies: Any) -> None:
    """Make the dataset of an axis, honestly unless an argument lies."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    if lies.get("chunk", True):
        creation.set_chunk(lies.get("chunk", (length,)))
    if "fill" in lies:
        creation.set_fill_value(np.array(lies["fill"], ">f4"))
    if "filters" in lies:
        creation.set_filter(lies["filters"], h5py.h5z.FLAG_OPTIONAL, (19,))
    kind = h5py.h5t.py_create(np.dtype(lies.get("dtype", ">f4")))
    space = h5py.h5s.create_simple((length,), (lies.get("most", length),))
    made = h5py.h5d.create(file.id, name.encode(), kind, space, creation)
    text = b"This is a netCDF dimension but not a netCDF variable.%10d" % lies.get("said", length)
    for key, value in (("CLASS", lies.get("kind", b"DIMENSION_SCALE")), ("NAME", text)):
        text_of(made, key, value)


def text_of(made: h5py.h5d.DatasetID, key: str, value: bytes) -> None:
    """Write an attribute that is a text with a zero behind it."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(value) + 1)
    attribute = h5py.h5a.create(made, key.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    attribute.write(np.array(value, f"S{len(value) + 1}"), mtype=kind)


def axes_of(file: h5py.File, dataset: str, targets: Any) -> None:
    """Write the attribute that ties the axes of a dataset to scales; each target is a list of references."""
    values = np.empty(len(targets), object)
    for at, references in enumerate(targets):
        values[at] = np.array(references, h5py.ref_dtype)
    file[dataset].attrs.create("DIMENSION_LIST", values, dtype=h5py.vlen_dtype(h5py.ref_dtype))


def uses_of(file: h5py.File, axis: str, uses: list[tuple[h5py.Reference, int]], dtype: np.dtype[Any] = USES) -> None:
    file[axis].attrs.create("REFERENCE_LIST", np.array(uses, dtype), dtype=dtype)


def named(
    lies: dict[str, dict[str, Any]] | None = None,
    change: Change = lambda file: None,
    before: Change = lambda file: None,
) -> Made:
    """All axes with their names, as they should be.

    Args:
        lies: lies about a scale, by its name.
        change: a change to the file after all is done.
    """

    def made(file: h5py.File, _: str, __: bytes) -> int:
        for name, length in LENGTHS.items():
            scale(file, name, **({"length": length} | (lies or {}).get(name, {})))
        for dataset, axes in AXES.items():
            axes_of(file, dataset, [[file[axis].ref] for axis in axes])
        for axis in LENGTHS:
            users = [(file[d].ref, axes.index(axis)) for d, axes in AXES.items() if axis in axes]
            uses_of(file, axis, users)
        change(file)
        return 0

    return made


def _instead(name: str, link: Any) -> Change:
    """Put a link where a scale was; what referred to the scale still does."""

    def change(file: h5py.File) -> None:
        OPEN.append(file[name].id)
        del file[name]
        file[name] = link(file) if callable(link) else link

    return change


def _secret(file: h5py.File) -> h5py.Reference:
    """A reference to a dataset without a name, mapped from another file."""
    layout = h5py.VirtualLayout((4,), np.uint8)
    layout[:] = h5py.VirtualSource(CANARY, "x", (4,))
    file.create_virtual_dataset("secret", layout)
    found = file["secret"]
    OPEN.append(found.id)
    del file["secret"]
    return found.ref


def _text(file: h5py.File) -> None:
    file["labels"].attrs.create("DIMENSION_LIST", "source")


def _region(file: h5py.File) -> None:
    value = np.empty(1, object)
    value[0] = np.array([file["source"].regionref[:]], h5py.regionref_dtype)
    file["labels"].attrs.create("DIMENSION_LIST", value, dtype=h5py.vlen_dtype(h5py.regionref_dtype))


def _listed(file: h5py.File, _: str, __: bytes) -> int:
    """A list of axes in a file without scales."""
    axes_of(file, "labels", [[file["sources"].ref]])
    return 0


def axes() -> Iterator[tuple[str, bytes, str, str]]:
    def axis(name: str, match: str, **special: Made) -> tuple[str, bytes, str, str]:
        return f"axis-{name}", viewed(**special).file(), "IntegrityError", match

    def lie(name: str, match: str, **lies: Any) -> tuple[str, bytes, str, str]:
        return axis(name, match, zz=named({"source": lies}))

    def then(name: str, match: str, change: Change) -> tuple[str, bytes, str, str]:
        return axis(name, match, zz=named(change=change))

    yield lie("length", r"axis 'source': shape \(5,\) found, \(4,\) expected", length=5)
    yield lie("growing", r"axis 'source': largest shape \(None,\) found", most=h5py.h5s.UNLIMITED)
    yield lie("dtype", "axis 'source': netCDF's type False found, True expected", dtype="<f4")
    yield lie("contiguous", "'source' is not chunked", chunk=None)
    yield lie("chunk", r"axis 'source': chunk \(2,\) found, \(4,\) expected", chunk=(2,))
    yield lie("filter", "axis 'source': filters .* found", filters=32015)
    yield lie("fill", "axis 'source': default fill value False found", fill=7.0)
    yield lie("said", "axis 'source': attributes .* found", said=5)
    yield lie("kind", "axis 'source': attributes .*'|S6'.* found", kind=b"TABLE")
    yield lie("class", "axis 'source': attributes .*DIMENSION_TABLE.* found", kind=b"DIMENSION_TABLE")

    def data(file: h5py.File) -> None:
        file["source"].id.write_direct_chunk((0,), b"PK\3\4" * 4)

    yield then("data", "axis 'source': chunks 1 found, 0 expected", data)
    yield then(
        "more",
        r"datasets \['channel', 'depth', .*\] found, \['channel', 'height', .*\] expected",
        lambda f: scale(f, "depth", 2),
    )
    yield then("fewer", r"datasets .* found, \['channel', .*\] expected", lambda f: f.__delitem__("source"))
    yield then(
        "attribute", "axis 'source': attributes .*'units'.* found", lambda f: f["source"].attrs.create("units", 1)
    )
    yield then("soft-link", r"'source' is a link \(SoftLink\)", _instead("source", h5py.SoftLink("/channel")))
    yield then("external-link", "it was not followed", _instead("source", h5py.ExternalLink(CANARY, "/x")))
    yield then("group", "'source' is a GroupID", _instead("source", lambda f: f["/"]))
    yield then("twins", "'DIMENSION_LIST': .* found", _instead("width", lambda f: f["height"]))

    for name, targets in {
        "turned": lambda f: [[f[axis].ref] for axis in ("source", "channel", "width", "height")],
        "two": lambda f: [[f["source"].ref, f["width"].ref], *([f[axis].ref] for axis in AXES["sources"][1:])],
        "none": lambda f: [[], *([f[axis].ref] for axis in AXES["sources"][1:])],
        "few": lambda f: [[f["source"].ref]],
        "null": lambda f: [[h5py.Reference()], *([f[axis].ref] for axis in AXES["sources"][1:])],
        "data": lambda f: [[f["labels"].ref], *([f[axis].ref] for axis in AXES["sources"][1:])],
        "root": lambda f: [[f.ref], *([f[axis].ref] for axis in AXES["sources"][1:])],
        "secret": lambda f: [[_secret(f)], *([f[axis].ref] for axis in AXES["sources"][1:])],
    }.items():
        yield then(
            f"list-{name}",
            "dataset 'sources': attributes .*'DIMENSION_LIST': .* found",
            lambda f, targets=targets: axes_of(f, "sources", targets(f)),
        )
    yield then(
        "list-missing",
        r"dataset 'labels': attributes {} found, .* {'DIMENSION_LIST': \[\['source'\]\]}",
        lambda f: f["labels"].attrs.__delitem__("DIMENSION_LIST"),
    )
    yield then("list-text", "dataset 'labels': attributes {'DIMENSION_LIST': 'object'} found", _text)
    yield then("list-regions", "dataset 'labels': attributes {'DIMENSION_LIST': 'object'} found", _region)

    wide = np.dtype({"names": USES.names, "formats": [h5py.ref_dtype, "<i4"], "offsets": [0, 8], "itemsize": 16})
    for name, uses, dtype in (
        ("other", lambda f: [(f["sources"].ref, 3)], USES),
        ("secret", lambda f: [(_secret(f), 2)], USES),
        ("more", lambda f: [(f["sources"].ref, 2), (f["labels"].ref, 0)], USES),
        ("wide", lambda f: [(f["sources"].ref, 2)], wide),
    ):
        yield then(
            f"uses-{name}",
            "axis 'height': attributes .*'REFERENCE_LIST': .* found",
            lambda f, uses=uses, dtype=dtype: uses_of(f, "height", uses(f), dtype),
        )
    yield then(
        "uses-missing",
        "axis 'width': attributes {[^}]*NAME[^}]*} found",
        lambda f: f["width"].attrs.__delitem__("REFERENCE_LIST"),
    )
    yield axis("of-no-scale", r"dataset 'labels': attributes {'DIMENSION_LIST': 'object'} found", zz=_listed)

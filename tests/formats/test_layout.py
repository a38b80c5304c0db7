"""Named axes: other HDF5 tools see them, and our own reader sees nothing new."""

from __future__ import annotations

import hashlib
import io
import shutil

import h5py
import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import FormatError, Reader, layout, writer
from dsetpack.formats.hdf5_view import difference
from tests.support.attacks.attack_axes import named
from tests.support.attacks.attack_views import viewed
from tests.support.format_packs import KINDS, PRESETS, card, images, part_of, same
from tests.support.paths import GOLDEN, KFS
from tests.support.processes import python

IMAGE = ("channel", "height", "width")
PRINT = """
import hashlib
from tests.formats.test_layout import several
print(hashlib.sha256(several("open")).hexdigest())
"""


def several(of: str, count: int = 3, kind: str = "kfs") -> bytes:
    """A pack of several parts with soft labels; their sources have other numbers."""
    made, part, _ = part_of(kind, labels={"kind": "soft"})
    parts, every = [], {}
    for n in range(count):
        _, _, tensors = part_of(kind, sources=5 + n % 2, seed=n)
        tensors["labels"] = np.full((5 + n % 2, 3), 1 / 3, np.float32)
        names = {role: f"{role}.of.a.part.with.a.long.name.{n}" for role in tensors}
        parts.append(part.model_copy(update={"tensors": names, "sources": 5 + n % 2}))
        every |= {names[role]: values for role, values in tensors.items()}
    return formats.encode(made, parts, every, "int8", layout=of)


def axes_of(data: bytes) -> dict[str, tuple[str, ...]]:
    """The names of the axes of each dataset, as h5py tells them: one scale for every axis."""
    found = {}
    with h5py.File(io.BytesIO(data)) as file, Reader(data) as reader:
        for name in reader.manifest.datasets:
            scales = [axis.values() for axis in file[name].dims]
            assert all(len(attached) == 1 for attached in scales)
            assert all(s.is_scale and s.shape == (n,) for (s,), n in zip(scales, file[name].shape, strict=True))
            for at, (scale,) in enumerate(scales):
                assert h5py.h5ds.is_attached(file[name].id, scale.id, at)
            found[name] = tuple(scale.name.lstrip("/") for (scale,) in scales)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_axis_has_a_name_and_nothing_else_changes(kind, preset, monkeypatch, tmp_path):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 600)
    made, part, tensors = part_of(kind, sources=7)
    plain = formats.encode(made, [part], tensors, preset)
    data = formats.encode(made, [part], tensors, preset, layout="open")
    with Reader(plain) as before, Reader(data, verify="all") as after:
        assert after.manifest.content_digest == before.manifest.content_digest
        assert all(same(after.tensor(name), before.tensor(name)) for name in before.manifest.tensors)
    (path := tmp_path / "x.dpk").write_bytes(data)
    assert difference(str(path), formats.Limits()) == ""
    found = axes_of(data)
    if kind != "generator":
        assert (found.pop("sources"), found.pop("labels")) == (("source", *IMAGE), ("source",))
    assert all(axes == tuple(f"{name}.axis{n}" for n in range(len(axes))) for name, axes in found.items())
    assert 4000 < len(data) - len(plain) < 11_000


def test_axes_of_several_parts():
    for count in (1, 2, 12):
        formats.verify(data := several("open", count))
        found = axes_of(data)
        for n in range(count):
            source = "source" if count == 1 else f"part{n}.source"
            assert found[f"sources.of.a.part.with.a.long.name.{n}"] == (source, *IMAGE)
            assert found[f"labels.of.a.part.with.a.long.name.{n}"] == (source, "class")


def test_names_that_are_taken_and_other_lengths():
    entry = lambda name, *shape: formats.manifest.TensorEntry(dtype="uint8", shape=shape, dataset=name)  # noqa: E731
    one = formats.PartEntry(kind="images", sources=4, tensors={"sources": "class", "labels": "y"})
    two = formats.PartEntry(kind="images", sources=4, tensors={"sources": "height", "labels": "y"})
    shapes = {"class": (4, 1, 2, 2), "height": (4, 1, 3, 2), "y": (4, 5), "z": (6, 6), "z.axis1": (9,)}
    tensors = {name: entry(name, *shape) for name, shape in shapes.items()}
    tensors |= {"a": entry("z.axis1", 4), "b": entry("z.axis1", 5)}
    assert layout.axes([one, two], tensors, shapes) == {
        "class": ("part0.source", "channel", "height_", "width"),
        "height": ("part1.source", "channel", "height__", "width"),
        "y": ("part0.source", "class_"),
        "z": ("z.axis0", "z.axis1_"),
        "z.axis1": ("z.axis1.axis0",),
    }


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_the_same_bytes_in_every_process(seed):
    with Reader(several("open")) as reader:
        data = b"".join(reader.blocks())
    assert data == several("open")
    assert python(PRINT, PYTHONHASHSEED=seed, TZ="Asia/Tokyo").strip() == hashlib.sha256(data).hexdigest()


def test_another_layout_of_a_file(tmp_path):
    """The chunks move, and the file is that which ``encode`` would have made."""
    made, new = {of: several(of) for of in layout.LAYOUTS}, tmp_path / "x.dpk"
    for data in made.values():
        with Reader(data) as reader:
            kept = reader.manifest.card
        for of in layout.LAYOUTS:
            assert formats.recard(data, kept, new, layout=of) == new.stat().st_size
            assert new.read_bytes() == made[of]
        formats.recard(data, kept, new)
        assert new.read_bytes() == data


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v*/*.dpk")), ids=lambda path: path.stem)
def test_every_golden_file_can_have_named_axes(path, tmp_path):
    with Reader(path) as reader:
        formats.recard(path, reader.manifest.card, new := tmp_path / "x.dpk", layout="Open")
        with Reader(new, verify="all") as after:
            assert after.manifest.content_digest == reader.manifest.content_digest
    assert difference(str(new), formats.Limits()) == ""
    assert set(axes_of(new.read_bytes())) == set(reader.manifest.datasets)


def test_a_signature_stays_where_nothing_changes(tmp_path):
    signed, path = GOLDEN / "v1.0" / "signed.dpk", tmp_path / "x.dpk"
    with Reader(signed) as reader:
        formats.recard(signed, reader.manifest.card, path)
        assert path.read_bytes() == signed.read_bytes()
        formats.recard(signed, reader.manifest.card, path, layout="open")
    with Reader(path) as after:
        assert after.header.signature == bytes(64)


def test_unknown_layouts_are_refused_and_the_file_stays(tmp_path):
    path = shutil.copy(KFS, tmp_path / "x.dpk")
    for way in (
        lambda: formats.recard(path, Reader(path).manifest.card, path, layout="netcdf"),
        lambda: formats.write(path, card(), [], {}, layout="netcdf"),
    ):
        with pytest.raises(FormatError, match="layout 'netcdf': one of plain, open expected"):
            way()
    assert path.read_bytes() == KFS.read_bytes()


def test_axes_named_by_another_writer_are_sound():
    """What the attacks in ``attack_axes.py`` change is sound as it is."""
    formats.verify(viewed(zz=named()).file())


def test_xarray_and_netcdf_tools_see_the_axes(tmp_path):
    """They read values with scale and offset, too. The plain file has axes without names, which h5netcdf refuses."""
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    h5netcdf = pytest.importorskip("h5netcdf", reason="h5netcdf is not installed")
    pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    path = tmp_path / "x.dpk"
    for kind in KINDS:
        made, part, tensors = part_of(kind, sources=7)
        formats.write(path, made, [part], tensors, "int8", "open")
        with xarray.open_dataset(path, engine="h5netcdf") as found, Reader(path) as reader:
            assert set(found.variables) == set(reader.manifest.datasets)
            assert {name: values.dims for name, values in found.items()} == axes_of(path.read_bytes())
            if kind != "generator":
                assert dict(found.sizes)["source"] == 7
                assert np.allclose(found["sources"].values, reader.tensor("sources"), atol=1e-6)
                assert same(found["labels"].values, reader.tensor("labels"))
        with h5netcdf.File(path) as file:
            assert {name: values.dimensions for name, values in file.variables.items()} == axes_of(path.read_bytes())
    path.write_bytes(images())
    with h5netcdf.File(path) as file, pytest.raises(ValueError, match="phony"):
        file["sources"].dimensions  # noqa: B018


def test_netcdf4_sees_the_axes(tmp_path):
    netcdf = pytest.importorskip("netCDF4", reason="netCDF4 is not installed")
    path = tmp_path / "x.dpk"
    path.write_bytes(several("open"))
    with netcdf.Dataset(path) as found:
        assert {name: values.dimensions for name, values in found.variables.items()} == axes_of(path.read_bytes())

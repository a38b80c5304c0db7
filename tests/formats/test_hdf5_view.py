"""The HDF5 view: other tools read what we read; verify trusts it only in a process of its own."""

import ctypes
import io
import os
import struct
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import IntegrityError, Reader, writer
from dsetpack.formats.hdf5_view import difference
from tests.support.attacks.attack_views import LABELS, linked, outside, viewed, virtual
from tests.support.format_packs import KINDS, PRESETS, images, part_of, same

hdf5plugin = pytest.importorskip("hdf5plugin")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_h5py_reads_the_stored_values(kind, preset, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 600)
    card, part, tensors = part_of(kind, sources=7)
    data = formats.encode(card, [part], tensors, preset)
    with h5py.File(io.BytesIO(data)) as file, Reader(data) as reader:
        assert set(file) == set(reader.manifest.datasets)
        scaled, expected = 0, 0
        for name, tensor in reader.manifest.tensors.items():
            dataset = file[tensor.dataset]
            stored = dataset[()].reshape(-1)[tensor.start : tensor.start + tensor.size].reshape(tensor.shape)
            assert same(np.ascontiguousarray(stored), reader.stored(name))
            alone = sum(t.dataset == tensor.dataset for t in reader.manifest.tensors.values()) == 1
            assert not alone or dataset.shape == (tensor.shape or (1,))
            numbers = [e for e in tensor.encodings if isinstance(e.configuration.get("scale"), float)]
            expected += bool(numbers and alone)
            if "scale_factor" in dataset.attrs:
                scale, offset = dataset.attrs["scale_factor"], dataset.attrs["add_offset"]
                assert (scale.dtype, offset.dtype) == (np.float32, np.float32)
                assert same(dataset[()].astype(np.float32) * scale + offset, reader.tensor(name))
                scaled += 1
        assert scaled == expected
        assert scaled == 1 or preset != "int8" or kind == "generator"


def test_several_chunks_through_h5py(monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 300)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", 300)
    sources = np.linspace(0, 1, 17 * 30, dtype=np.float32).reshape(17, 1, 6, 5)
    data = images(sources)
    assert len(Reader(data).manifest.datasets["sources"].chunks) == 9
    with h5py.File(io.BytesIO(data)) as file:
        assert same(file["sources"][()], sources)
        assert same(file["sources"][5:9], sources[5:9])
    formats.verify(data)


@pytest.mark.slow
def test_many_datasets_and_chunks_fit_the_profile(monkeypatch):
    """HDF5 changes how it stores links and chunks when there are many of them."""
    monkeypatch.setattr(writer, "CHUNK_BYTES", 120)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", 120)
    card, part, tensors = part_of("images", sources=300)
    parts, every = [], {}
    for n in range(12):
        names = {role: f"{role}.of.a.part.with.a.long.name.{n}" for role in tensors}
        parts.append(part.model_copy(update={"tensors": names}))
        every |= {names[role]: values for role, values in tensors.items()}
    data = formats.encode(card, parts, every)
    formats.verify(data)
    assert len(Reader(data).manifest.datasets) == 24


def test_plain_h5py_says_what_is_missing():
    """Without the plugin other tools still see names, shapes and attributes."""
    code = (
        "import h5py, io, sys\n"
        "with h5py.File(io.BytesIO(sys.stdin.buffer.read())) as file:\n"
        "    assert file['sources'].shape == (7, 1, 6, 5), file['sources']\n"
        "    assert set(file['sources'].attrs) == {'scale_factor', 'add_offset'}\n"
        "    try: file['sources'][()]\n"
        "    except OSError: print('needs the plugin')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HDF5_PLUGIN_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=images(encoding="int8"), capture_output=True, check=False, env=environment
    )
    assert done.stdout.strip() == b"needs the plugin", done.stderr


def test_a_file_changed_by_an_hdf5_tool_says_so(tmp_path):
    """An attribute, another dataset, the HDF5 part written anew in either layout; but bytes at the end are appended."""
    path, good = tmp_path / "x.dpk", images(encoding="int8")

    def told(data):
        with pytest.raises(IntegrityError) as caught:
            formats.verify(data)
        return str(caught.value)

    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        file["labels"].attrs["note"] = "hello"
    assert "another HDF5 tool changed it" in told(path)
    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        file["more"] = np.arange(3)
    assert "another HDF5 tool changed it" in told(path)
    block = Reader(good).header.user_block
    for version in ("earliest", "latest"):
        with h5py.File(path, "w", userblock_size=block, libver=version) as file:
            file["labels"] = np.arange(7)
        path.write_bytes(good[:block] + path.read_bytes()[block:])
        assert "another HDF5 tool changed it" in told(path)
    assert "bytes were appended" in told(good + b"more")
    assert "are missing" in told(good[:-1])


class Watch:
    """Watches which files of a folder any process opens, with Linux's inotify."""

    def __init__(self, folder):
        self.libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self.libc, "inotify_init1"):
            pytest.skip("needs inotify")
        self.handle = self.libc.inotify_init1(os.O_NONBLOCK)
        assert self.libc.inotify_add_watch(self.handle, os.fsencode(folder), 0x20 | 0x1) >= 0  # IN_OPEN, IN_ACCESS

    def opened(self):
        time.sleep(0.02)
        try:
            data = os.read(self.handle, 1 << 16)
        except BlockingIOError:
            return set()
        names, at = set(), 0
        while at < len(data):
            length = struct.unpack_from("<IIII", data, at)[3]
            names.add(data[at + 16 : at + 16 + length].rstrip(b"\0").decode())
            at += 16 + length
        return names


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs inotify")
@pytest.mark.parametrize("way", ["external link", "external storage", "virtual", "growing virtual"])
def test_no_file_that_a_file_names_is_ever_opened(way, tmp_path):
    canaries, packs = tmp_path / "canaries", tmp_path / "packs"
    canaries.mkdir()
    packs.mkdir()
    canary, path = canaries / "canary", packs / "x.dpk"
    with h5py.File(canary, "w") as file:
        file["x"] = LABELS if way != "growing virtual" else LABELS[None]
    special = {
        "external link": lambda: linked(h5py.ExternalLink(str(canary), "/x")),
        "external storage": lambda: outside(str(canary)),
        "virtual": lambda: virtual(str(canary)),
        "growing virtual": lambda: virtual(str(canary), growing=True),
    }[way]()
    path.write_bytes(viewed(labels=special).file())
    watch = Watch(canaries)
    with pytest.raises(IntegrityError, match="it was not followed"):
        formats.verify(path)
    with Reader(path, verify="all") as reader:
        assert same(reader.part(0)["labels"], LABELS)
    assert "was not followed" in difference(str(path), formats.Limits())
    assert watch.opened() == set()
    with h5py.File(path) as file:  # the trap works: h5py walks into it
        file["labels"][()]
    assert watch.opened() == {"canary"}

"""The reader of examples/ that needs no dsetpack reads what the runtime reads, and refuses what it should."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard

import dsetpack
from dsetpack import formats

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "read_a_pack.py"
GOLDEN = ROOT / "tests" / "golden"
FILES = {path.stem: path for folder in (GOLDEN / "v1.0", ROOT / "examples" / "packs") for path in folder.glob("*.dpk")}

spec = importlib.util.spec_from_file_location("read_a_pack", SCRIPT)
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)

READ = {
    "chunks-several", "encoding-cast-bfloat16", "encoding-cast-float16", "encoding-none", "encoding-quantize-axis",
    "encoding-quantize-patch", "encoding-quantize-pixels", "encoding-quantize-tensor", "encoding-shuffle",
    "kind-images", "kind-kfs", "kind-kfs-kernel-4", "kind-upsample", "kind-upsample-corners", "labels-soft",
    "parts-shared-bank", "preset-int8", "signed",
    "fashion-idc-ipc1", "fashion-isa-ipc1", "fashion-isa-ipc10", "fashion-kfs-ipc1", "fashion-kfs-ipc10",
}  # fmt: skip
HABA, GENERATOR = (rf"decoder kind: '{kind}' found, \['images', 'upsample', 'kfs'\]" for kind in ("haba", "generator"))
NOT_READ = {
    "kind-generator": GENERATOR,
    "kind-generator-seven": GENERATOR,
    "kind-haba": HABA,
    "kind-haba-deep": HABA,
    "kind-haba-flat": HABA,
    "kind-haba-patches": HABA,
    "kind-haba-released": HABA,
    "preset-int4": HABA,
    "fashion-haba-ipc10": HABA,
    "space-zca": r"space: 'zca' found, \['raw', 'normalized'\] expected",
}


def opened(name):
    return reader.Pack(FILES[name].read_bytes())


def refused(data, match):
    with pytest.raises(reader.PackError, match=match) as caught:
        reader.Pack(data)
    assert " found, " in str(caught.value)
    assert str(caught.value).isprintable()


def test_every_file_is_read_or_refused_for_a_known_reason():
    assert [folder.name for folder in GOLDEN.glob("v*")] == ["v1.0"]
    assert not READ & NOT_READ.keys()
    assert FILES.keys() == READ | NOT_READ.keys()
    assert (len(READ), len(NOT_READ)) == (23, 10)


@pytest.mark.parametrize("name", sorted(READ))
def test_reads_what_the_runtime_reads(name, one_thread):
    mine, theirs = opened(name), dsetpack.open(FILES[name])
    with formats.Reader(FILES[name]) as file:
        assert mine.tensors.keys() == file.manifest.tensors.keys()
        for tensor, entry in mine.tensors.items():
            found, expected = mine.tensor(**entry), file.tensor(tensor)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            assert found.tobytes() == expected.tobytes()
    assert mine.digest == theirs.digest
    assert len(mine.pairs) == len(theirs)
    x, y = mine.decode(range(len(mine.pairs)))
    images, labels = (values.numpy() for values in theirs.decode(np.arange(len(theirs))))
    assert (x.dtype, x.shape) == (images.dtype, images.shape)
    assert np.array_equal(y, labels)
    if {part.kind for part in theirs.parts} == {"images"}:
        assert np.array_equal(x, images)
    assert np.max(np.abs(x - images) * mine.std) <= 1e-6  # of the span from black to white
    assert np.array_equal(mine.decode([2, 0, 2])[0], x[[2, 0, 2]])


@pytest.mark.parametrize("name", sorted(NOT_READ))
def test_names_what_it_does_not_read(name):
    refused(FILES[name].read_bytes(), NOT_READ[name])


def test_every_byte_counts():
    """One flipped byte anywhere is refused, each in its place by the check that is there for it."""
    data = FILES["encoding-none"].read_bytes()
    pack, (block, _, stored) = reader.Pack(data), struct.unpack_from("<3Q", data, 16)
    chunks = [chunk for dataset in pack.datasets.values() for chunk in dataset["chunks"]]
    in_chunks = {block + c["offset"] + at for c in chunks for at in range(c["length"])}
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        if at < 256:
            match = "^(magic|major version|checksum of the header): "
        elif at < block:
            match = "^digest of the manifest: " if at < 256 + stored else "^bytes after the manifest: "
        else:
            match = "^digest of a chunk: " if at in in_chunks else "^digest of the rest: "
        refused(flipped, match)
    for length in range(0, len(data), 7):
        refused(data[:length], "^(magic|major version|checksum of the header|length of the file): ")
    refused(data + b"\0", "^length of the file: ")
    refused(b"\x89PNG\r\n\x1a\n" + data[8:], r"^magic: b'\\x89PNG\\r\\n\\x1a\\n' found, \[b'\\x8aDPK")


def sealed(name, edit, **lies):
    """The file with a changed manifest, and all digests of it right."""
    data = FILES[name].read_bytes()
    block, _, stored = struct.unpack_from("<3Q", data, 16)
    manifest = json.loads(zstandard.ZstdDecompressor().decompress(data[256 : 256 + stored]))
    edit(manifest)
    text = json.dumps(manifest).encode()
    frame, tail = zstandard.ZstdCompressor().compress(text), data[block:]
    block = max(512, 1 << (255 + len(frame)).bit_length())
    header = struct.pack(
        "<8sHHIQQQQ", data[:8], 1, 7, 0, block, block + len(tail), len(frame), lies.get("plain", len(text))
    )
    header = (header + hashlib.sha256(frame).digest()).ljust(252, b"\0")
    return (header + struct.pack("<I", zlib.crc32(header)) + frame).ljust(block, b"\0") + tail


def change(value, *path):
    """An edit of a manifest that puts a value at a path."""
    *way, last = path

    def edit(manifest):
        for step in way:
            manifest = manifest[step]
        manifest[last] = value

    return edit


X = ("datasets", "sources")
LIES = {
    "manifest": (lambda m: m.update(extra=1), TypeError, "unexpected keyword argument 'extra'"),
    "part": (change(1, "parts", 0, "new"), TypeError, "unexpected keyword argument 'new'"),
    "chunk": (change(1, *X, "chunks", 0, "new"), TypeError, "unexpected keyword argument 'new'"),
    "text for an object": (change({"must_understand": "false"}, *X, "new"), TypeError, "argument 'new'"),
    "encoding": (change("lzma", *X, "encodings", 0, "name"), reader.PackError, r"encodings: \['lzma'"),
    "method": (change("part", *X, "encodings", 0, "name"), reader.PackError, r"encodings: \['part'"),
    "order": (lambda m: m["datasets"]["sources"]["encodings"].reverse(), reader.PackError, "encodings: "),
    "array": (
        change([{"name": "zstd", "configuration": {}}], "tensors", "sources", "encodings"),
        reader.PackError,
        r"encodings: \['zstd'\] found, \[\[\], \['cast'\], \['quantize'\]\] expected",
    ),
    "size": (change([2, 2, 5, 6], *X, "chunk"), reader.PackError, "chunks: "),
    "zstd": (
        lambda m: m["datasets"]["sources"].update(shape=[6, 2, 5, 6], chunk=[6, 2, 5, 6]),
        reader.PackError,
        r"size that a zstd frame states: 1200 found, \[1440\] expected",
    ),
    "float": (change([5.0, 2, 5, 6], *X, "chunk"), reader.PackError, "elements: 305.0 found"),
    "negative": (change([-5, -2, 5, 6], *X, "shape"), reader.PackError, "chunks: "),
    "huge": (change([2**40, 2, 5, 6], *X, "chunk"), reader.PackError, "elements: "),
    "many": (change([{"offset": 0, "length": 0}] * 2**16, *X, "chunks"), reader.PackError, "digest of the rest"),
    "outside": (change(2**40, *X, "chunks", 0, "offset"), reader.PackError, "edges of the chunks"),
    "overlap": (lambda m: m["datasets"].update(x=m["datasets"]["sources"]), reader.PackError, "edges of the chunks"),
    "dtype": (change("S999999999", "tensors", "sources", "dtype"), reader.PackError, "dtype: 'S999999999' found"),
    "shape": (change([2, 5, 5], "card", "shape"), reader.PackError, "shapes of a part's tensors: "),
    "classes": (change(["a", "b"], "card", "classes"), reader.PackError, r"labels: \[.*2.*\] found, \[\[\]\] expected"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused_before_anything_is_made_of_it(lie):
    edit, error, match = LIES[lie]
    with pytest.raises(error, match=match):
        reader.Pack(sealed("kind-images", edit))


def test_a_manifest_larger_than_it_says_is_refused():
    refused(
        sealed("kind-images", lambda m: None, plain=7), r"^size that a zstd frame states: \d+ found, \[7\] expected"
    )


def test_what_may_be_ignored_is_ignored():
    ignorable = {"must_understand": False, "x": [1]}

    def edit(manifest):
        part, dataset = manifest["parts"][0], manifest["datasets"]["sources"]
        places = [manifest, manifest["card"], part, part["config"], manifest["tensors"]["sources"], dataset]
        for place in (*places, dataset["chunks"][0], dataset["encodings"][0]["configuration"]):
            place["later"] = ignorable

    assert np.array_equal(reader.Pack(sealed("kind-kfs", edit)).decode([7])[0], opened("kind-kfs").decode([7])[0])


def test_it_is_short_and_needs_little():
    text = SCRIPT.read_text(encoding="utf-8")
    assert text.count("\n") < 150
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert (
        {"numpy", "zstandard"} <= imported <= {"numpy", "zstandard", *sys.stdlib_module_names} - {"importlib", "runpy"}
    )


ALONE = """
import runpy, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dsetpack", "h5py", "torch", "pydantic"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(name, folder):
    command = [sys.executable, "-I", "-c", ALONE, str(SCRIPT), str(FILES[name])]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize("name", ["fashion-kfs-ipc1", "fashion-idc-ipc1", "labels-soft"])
def test_runs_where_there_is_no_dsetpack(name, tmp_path):
    done, pack = run(name, tmp_path), opened(name)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    kinds = {"fashion-kfs-ipc1": "280 pairs of kfs", "fashion-idc-ipc1": "40 pairs of upsample"}
    assert first == f"{pack.card['title']!r}: {kinds.get(name, '5 pairs of images')}"
    shape = [min(100, len(pack.pairs)), *pack.card["shape"]]
    found = re.fullmatch(rf"{pack.digest}, images {re.escape(str(shape))} from (-?[\d.]+) to (-?[\d.]+)", second)
    images, _ = pack.decode(range(shape[0]))
    assert [float(end) for end in found.groups()] == pytest.approx([images.min(), images.max()], abs=1e-3)


def test_says_in_one_line_what_it_does_not_read(tmp_path):
    done = run("fashion-haba-ipc10", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"\S*PackError: {HABA} expected\n", done.stderr)

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

import numpy as np
import pytest
import zstandard

import dsetpack
from dsetpack import formats
from tests.support.paths import GOLDEN, PACKS, ROOT, SAMPLE

SCRIPT = ROOT / "examples" / "read_a_pack.py"
FILES = {path.stem: path for folder in (GOLDEN / "v1.0", PACKS, SAMPLE.parent) for path in folder.glob("*.dpk")}

spec = importlib.util.spec_from_file_location("read_a_pack", SCRIPT)
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)

READ = {
    "chunks-several", "encoding-cast-bfloat16", "encoding-cast-float16", "encoding-none", "encoding-quantize-axis",
    "encoding-quantize-patch", "encoding-quantize-pixels", "encoding-quantize-tensor", "encoding-shuffle",
    "kind-images", "kind-kfs", "kind-kfs-kernel-4", "kind-upsample", "kind-upsample-corners", "labels-soft",
    "parts-shared-bank", "preset-int8", "signed",
    "fashion-idc-ipc1", "fashion-isa-ipc1", "fashion-isa-ipc10", "fashion-kfs-ipc1", "fashion-kfs-ipc10",
    "fashion-sample",
}  # fmt: skip
HABA, GENERATOR = (f"unknown decoder kind: '{kind}'" for kind in ("haba", "generator"))
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
    "space-zca": "unknown space: 'zca'",
}


def opened(name):
    return reader.read_pack(FILES[name].read_bytes())


def decoded(card, tensors, pairs):
    return np.array([reader.decode(card, tensors, *pair) for pair in pairs])


def refused(data, match):
    with pytest.raises(ValueError, match=match) as caught:
        reader.read_pack(data)
    assert str(caught.value).isprintable()


def test_every_file_is_read_or_refused_for_a_known_reason():
    assert [folder.name for folder in GOLDEN.glob("v*")] == ["v1.0"]
    assert not READ & NOT_READ.keys()
    assert FILES.keys() == READ | NOT_READ.keys()
    assert (len(READ), len(NOT_READ)) == (24, 10)


@pytest.mark.parametrize("name", sorted(READ))
def test_reads_what_the_runtime_reads(name, one_thread):
    (card, tensors, pairs, digest), theirs = opened(name), dsetpack.open(FILES[name])
    with formats.Reader(FILES[name]) as file:
        assert tensors.keys() == file.manifest.tensors.keys()
        for tensor, found in tensors.items():
            expected = file.tensor(tensor)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            assert found.tobytes() == expected.tobytes()
    assert digest == theirs.digest
    assert len(pairs) == len(theirs)
    images, labels = (values.numpy() for values in theirs.decode(np.arange(len(theirs))))
    x = decoded(card, tensors, pairs)
    assert (x.dtype, x.shape) == (images.dtype, images.shape)
    assert np.array_equal([tensors[part["tensors"]["labels"]][source] for part, source, _ in pairs], labels)
    if {part.kind for part in theirs.parts} == {"images"}:
        assert np.array_equal(x, images)
    std = np.reshape(card.get("space", {}).get("std", [1]), (-1, 1, 1))
    assert np.max(np.abs(x - images) * std) <= 1e-6  # of the span from black to white


@pytest.mark.parametrize("name", sorted(NOT_READ))
def test_names_what_it_does_not_read(name):
    refused(FILES[name].read_bytes(), NOT_READ[name])


def test_every_byte_counts():
    """One flipped byte anywhere is refused by the check that covers its place."""
    data = FILES["encoding-none"].read_bytes()
    block, _, stored, plain = struct.unpack_from("<4Q", data, 16)
    manifest = reader.read_manifest(data[256 : 256 + stored], plain, data[block:])
    chunks = [chunk for dataset in manifest["datasets"].values() for chunk in dataset["chunks"]]
    in_chunks = {block + c["offset"] + at for c in chunks for at in range(c["length"])}
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        if at < 256:
            match = "does not start with a pack's header|has major version|the header does not match its checksum"
        elif at < block:
            match = (
                "manifest does not match its digest" if at < 256 + stored else "bytes after the manifest are not zero"
            )
        else:
            match = "a chunk does not match its digest" if at in in_chunks else "outside of chunks do not match"
        refused(flipped, match)
    for length in range(0, len(data), 7):
        refused(
            data[:length], "does not start with a pack's header" if length < 256 else f"has {length} bytes instead of"
        )
    refused(data + b"\0", "bytes instead of")
    refused(b"\x89PNG\r\n\x1a\n" + data[8:], "does not start with a pack's header")


def sealed(name, edit, dumps=json.dumps, **lies):
    """The file with a changed manifest and correct digests."""
    data = FILES[name].read_bytes()
    block, _, stored = struct.unpack_from("<3Q", data, 16)
    manifest = json.loads(zstandard.ZstdDecompressor().decompress(data[256 : 256 + stored]))
    edit(manifest)
    text = dumps(manifest).encode()
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
    "encoding": (change("lzma", *X, "encodings", 0, "name"), r"unknown encodings: \['lzma'"),
    "method": (change("part", *X, "encodings", 0, "name"), r"unknown encodings: \['part'"),
    "size": (change([2, 2, 5, 6], *X, "chunk"), "a zstd frame does not state the expected size, 480"),
    "dtype": (change("S999999999", "tensors", "sources", "dtype"), "too large for this reader"),
    "stored dtype": (change("S999999999", *X, "dtype"), "a zstd frame does not state the expected size"),
    "order": (lambda m: m["datasets"]["sources"]["encodings"].reverse(), "unknown encodings: "),
    "array": (
        change([{"name": "zstd", "configuration": {}}], "tensors", "sources", "encodings"),
        "unknown encoding of a tensor: 'zstd'",
    ),
    "zstd": (
        lambda m: m["datasets"]["sources"].update(shape=[6, 2, 5, 6], chunk=[6, 2, 5, 6]),
        "a zstd frame does not state the expected size, 1440",
    ),
    "huge": (change([2**40, 2, 5, 6], *X, "chunk"), "too large for this reader"),
    "huge tensor": (change([2**40], "tensors", "sources", "shape"), "too large for this reader"),
    "huge image": (change([1, 2**20, 2**20], "card", "shape"), "too large for this reader"),
    "many": (change([{"offset": 0, "length": 0}] * 2**16, *X, "chunks"), "outside of chunks do not match"),
    "outside": (change(2**40, *X, "chunks", 0, "offset"), "a chunk overlaps another or leaves the file"),
    "overlap": (lambda m: m["datasets"].update(x=m["datasets"]["sources"]), "a chunk overlaps another"),
    "shape": (change([2, 5, 5], "card", "shape"), "cannot reshape array of size 60"),
    "classes": (change(["a", "b"], "card", "classes"), "a label is not in the list of classes"),
    "kind": (change("x\n", "parts", 0, "kind"), r"unknown decoder kind: 'x\\n'"),
    "space": (change({"kind": "lab"}, "card", "space"), "unknown space: 'lab'"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused(lie):
    edit, match = LIES[lie]
    data = sealed("kind-images", edit)
    with pytest.raises(ValueError, match=match):
        decoded(*reader.read_pack(data)[:3])


@pytest.mark.parametrize(
    "lists",
    [
        [[0], [-1], [1]],
        [[0], [3], [1]],
        [[0], [1]],
        [[0], [1], [2], [0]],
        [[0, 1], [1], [2]],
        [],
    ],
    ids=["negative", "too large", "too few", "too many", "lengths", "none"],
)
def test_class_decoders_that_are_none_are_refused(lists):
    refused(sealed("parts-shared-bank", change(lists, "parts", 1, "class_decoders")), "^class_decoders are not as many")


def test_class_decoders_that_fit_are_used():
    _, tensors, pairs, _ = reader.read_pack(
        sealed("parts-shared-bank", change([[2], [0], [1]], "parts", 1, "class_decoders"))
    )
    labels = tensors[pairs[-1][0]["tensors"]["labels"]]
    assert [k for part, _, k in pairs if part.get("stage")] == [[2, 0, 1][label] for label in labels]


def test_a_manifest_larger_than_it_says_is_refused():
    refused(sealed("kind-images", lambda m: None, plain=7), "^a zstd frame does not state the expected size, 7$")


def test_what_may_be_ignored_is_ignored():
    def edit(manifest):
        part, dataset = manifest["parts"][0], manifest["datasets"]["sources"]
        places = [manifest, manifest["card"], part, part["config"], manifest["tensors"]["sources"], dataset]
        for place in (*places, dataset["chunks"][0], dataset["encodings"][0]["configuration"]):
            place["later"] = {"must_understand": False, "x": [1]}

    found = decoded(*reader.read_pack(sealed("kind-kfs", edit))[:3])
    assert np.array_equal(found, decoded(*opened("kind-kfs")[:3]))


def test_it_is_short_and_needs_little():
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
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
    done, (card, tensors, pairs, digest) = run(name, tmp_path), opened(name)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    kinds = {"fashion-kfs-ipc1": "280 pairs of kfs", "fashion-idc-ipc1": "40 pairs of upsample"}
    assert first == f"{card['title']!r}: {kinds.get(name, '5 pairs of images')}"
    shape = [min(10, len(pairs)), *card["shape"]]
    found = re.fullmatch(rf"{digest}, images {re.escape(str(shape))} from (-?[\d.]+) to (-?[\d.]+)", second)
    images = decoded(card, tensors, pairs[:10])
    assert [float(end) for end in found.groups()] == pytest.approx([images.min(), images.max()], abs=1e-3)


def test_says_in_one_line_what_it_does_not_read(tmp_path):
    done = run("fashion-haba-ipc10", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"ValueError: {HABA}\n", done.stderr)

"""A reader written from the specification alone reads what the writer writes, and decodes what the runtime decodes."""

import hashlib
import io
import json
import math
import re
import struct
import zlib

import h5py
import numpy as np
import pytest
import zstandard

from dsetpack import formats
from dsetpack.formats import Reader, writer
from dsetpack.order import philox
from tests.support.attacks.dpk_draft import canonical as plain_canonical
from tests.support.attacks.dpk_draft import draft, frame, header
from tests.support.format_packs import KINDS, PRESETS, images, part_of, same
from tests.support.paths import GOLDEN
from tests.support.paths import SPEC as PAGE
from tests.support.spec_decoders import KINDS as DECODERS
from tests.support.spec_decoders import RAW
from tests.support.spec_reader import SpecReader, canonical

SPEC = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_specification_suffices_to_read(kind, preset, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 700)
    card, part, tensors = part_of(kind, sources=7)
    data = formats.encode(card, [part], tensors, preset)
    mine, reader = SpecReader(data), Reader(data)
    for name in reader.manifest.tensors:
        assert same(mine.tensor(name), reader.tensor(name))
    assert mine.content_digest() == reader.manifest.content_digest
    assert "sha256:" + data[48:80].hex() == reader.digest
    assert canonical(mine.manifest).encode() == mine.text


@pytest.mark.parametrize("path", sorted((GOLDEN / "v1.0").glob("*.dpk")), ids=lambda p: p.stem)
def test_the_specification_suffices_to_decode(path):
    """Every pair of the golden files, in numpy, as sections 5 and 8 say."""
    reader = SpecReader(path.read_bytes())
    card, expected = reader.manifest["card"], np.load(path.with_suffix(".npz"), allow_pickle=False)
    classes, shape, space = len(card["classes"]), tuple(card["shape"]), card.get("space", {"kind": "raw"})
    found_x, found_y = [], []
    for part in reader.manifest["parts"]:
        tensors = {role: reader.tensor(name).astype(np.float64) for role, name in part["tensors"].items()}
        drawn = "sources" not in tensors
        labels = np.repeat(np.arange(classes), card["per_class"]) if drawn else tensors["labels"]
        config, kind = part.get("config", {}), part["kind"]
        size = {"upsample": config.get("factor", 0) ** 2, "images": 1, "generator": 1}
        lists = part.get("class_decoders")
        slots = len(lists[0]) if lists else size.get(kind) or config["decoders"] * config.get("factor", 1) ** 2
        for s, label in enumerate(labels):
            for slot in range(slots):
                if drawn:  # seed 3, epoch 1, as make_golden.py decodes
                    source = philox.noise(3, 1, [len(found_x)], config["noise"])[0].astype(np.float64)
                    source[:classes] = np.arange(classes) == label
                else:
                    source = tensors["sources"][s]
                k = lists[int(label)][slot] if lists else slot
                image = DECODERS[kind](config, shape, tensors, source, k)
                if kind in RAW and space["kind"] == "normalized":
                    image = (image - np.reshape(space["mean"], (-1, 1, 1))) / np.reshape(space["std"], (-1, 1, 1))
                found_x.append(image)
                found_y.append(label)
    assert np.allclose(np.array(found_x), expected["images"], rtol=1e-4, atol=1e-5)
    assert np.array_equal(np.array(found_y), expected["labels"])


def test_exact_bytes_of_a_tiny_pack():
    """Every byte outside HDF5's own metadata, put together by hand."""
    sources, labels = np.array([[[[0.5, -1.25]]], [[[3.0, 7.0]]]], np.float32), np.array([1, 0], np.uint8)
    data = images(sources, labels=labels, classes=("no", "yes"), title="tiny ü")
    block = struct.unpack_from("<Q", data, 16)[0]
    reader = SpecReader(data)
    index = reader.manifest["datasets"]
    shuffled = bytes(sources.tobytes()[i + 4 * n] for i in range(4) for n in range(4))
    plain, mixed = frame(sources.tobytes()), frame(shuffled)
    chunks = {"sources": min(plain, mixed, key=len), "labels": frame(labels.tobytes())}
    for name, chunk in chunks.items():
        start = block + index[name]["chunks"][0]["offset"]
        assert data[start : start + len(chunk)] == chunk
    steps = [{"configuration": {"level": 19}, "name": "zstd"}]
    first = [{"configuration": {"itemsize": 4}, "name": "shuffle"}] if len(mixed) < len(plain) else []

    def dataset(name, dtype, shape, encodings):
        entry = {"length": len(chunks[name]), "sha256": hashlib.sha256(chunks[name]).hexdigest()}
        entry["offset"] = index[name]["chunks"][0]["offset"]
        return {"dtype": dtype, "shape": shape, "chunk": shape, "encodings": encodings, "chunks": [entry]}

    offsets = [index[name]["chunks"][0]["offset"] for name in ("labels", "sources")]
    with h5py.File(io.BytesIO(data)) as file:
        found = [file[name].id.get_chunk_info(0).byte_offset for name in ("labels", "sources")]
    assert found in (offsets, [block + at for at in offsets])  # newer HDF5 versions count the user block
    ends = [at + len(chunks[name]) for at, name in zip(offsets, ("labels", "sources"), strict=True)]
    tail = data[block:]
    rest = tail[: offsets[0]] + tail[ends[0] : offsets[1]] + tail[ends[1] :]
    manifest = plain_canonical({
        "card": {"classes": ["no", "yes"], "shape": [1, 1, 2], "title": "tiny ü"},
        "datasets": {
            "labels": dataset("labels", "uint8", [2], steps),
            "sources": dataset("sources", "float32", [2, 1, 1, 2], first + steps),
        },
        "parts": [{"kind": "images", "sources": 2, "tensors": {"labels": "labels", "sources": "sources"}}],
        "rest": hashlib.sha256(rest).hexdigest(),
        "tensors": {
            "labels": {"dataset": "labels", "dtype": "uint8", "shape": [2]},
            "sources": {"dataset": "sources", "dtype": "float32", "shape": [2, 1, 1, 2]},
        },
    })  # fmt: skip
    packed = frame(manifest)
    expected = header(
        user_block=1024,
        file_length=len(data),
        stored=len(packed),
        plain=len(manifest),
        digest=hashlib.sha256(packed).digest(),
    )
    assert data[:1024] == (expected + packed).ljust(1024, b"\0")
    assert block == 1024


def test_a_file_put_together_by_hand_is_read():
    """There is no HDF5 behind the user block; a reader needs none."""
    values = np.arange(12, dtype=">f4").reshape(3, 1, 2, 2)
    chunk = zstandard.ZstdCompressor().compress(values.astype("<f4").tobytes())
    labels = bytes([0, 0, 0])
    tail = b"gap" + chunk + labels
    step = {"name": "zstd", "configuration": {"level": 3}}

    def dataset(dtype, shape, at, data, encodings):
        entry = {"offset": at, "length": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return {"dtype": dtype, "shape": shape, "chunk": shape, "chunks": [entry], "encodings": encodings}

    manifest = json.dumps({
        "card": {"title": "by hand", "classes": ["only"], "shape": [1, 2, 2]},
        "parts": [{"kind": "images", "sources": 3, "tensors": {"labels": "l", "sources": "s"}, "config": {}}],
        "tensors": {
            "s": {"dtype": "float32", "shape": [3, 1, 2, 2], "dataset": "s", "start": 0},
            "l": {"dtype": "uint8", "shape": [3], "dataset": "l", "encodings": []},
            "empty": {"dtype": "int16", "shape": [2, 0]},
            "scalar": {"dtype": "uint8", "shape": [], "dataset": "e"},
        },
        "datasets": {
            "s": dataset("float32", [12], 3, chunk, [step]),
            "l": dataset("uint8", [3, 1], 3 + len(chunk), labels, []),
            "e": dataset("uint8", [1], 3 + len(chunk) + 3, b"\x2a", []),
        },
        "rest": hashlib.sha256(b"gap").hexdigest(),
        "later": {"must_understand": False, "x": [1]},
    }, indent=1).encode()  # fmt: skip
    packed = zstandard.ZstdCompressor().compress(manifest)
    tail += b"\x2a"
    digest = hashlib.sha256(packed).digest()
    block = 1 << (256 + len(packed) - 1).bit_length()
    for user_block in (block, 2 * block):
        sizes = (user_block, user_block + len(tail), len(packed), len(manifest))
        front = struct.pack("<8sHHIQQQQ32s", b"\x8aDPK\r\n\x1a\n", 1, 9, 0, *sizes, digest)
        front = (front + b"k" * 32 + b"s" * 64).ljust(252, b"\0")
        data = ((front + struct.pack("<I", zlib.crc32(front))) + packed).ljust(user_block, b"\0") + tail
        formats.verify(data, hdf5=False)
        with Reader(data) as reader:
            assert np.array_equal(reader.tensor("s"), values)
            assert reader.tensor("empty").shape == (2, 0)
            assert reader.tensor("scalar") == 42
            assert reader.tensor("scalar").shape == ()
            assert reader.header.minor == 9
            assert reader.manifest.content_digest == SpecReader(data).content_digest()


def test_ignorable_members_anywhere():
    """Objects with fixed members accept members marked must_understand: false; the content digest stays the same."""
    made = draft(
        {"sources": np.zeros((3, 1, 1, 1), np.float32), "labels": np.zeros(3, np.uint8)},
        {"title": "t", "classes": ["a"], "shape": [1, 1, 1]},
        {"kind": "images", "sources": 3, "tensors": {"sources": "sources", "labels": "labels"}},
    )
    digest = Reader(made.file()).manifest.content_digest
    ignorable = {"must_understand": False, "deep": {"must_understand": True}}
    places = [made.manifest, made.manifest["card"], made.manifest["parts"][0], made.manifest["tensors"]["labels"]]
    places += [made.manifest["datasets"]["labels"], made.manifest["datasets"]["labels"]["chunks"][0]]
    places += [made.manifest["datasets"]["labels"]["encodings"][0]]
    for place in places:
        place["new"] = ignorable
    data = made.file()
    formats.verify(data, hdf5=False)
    assert Reader(data).manifest.content_digest == digest == SpecReader(data).content_digest()
    made.manifest["parts"][0]["config"] = {"new": ignorable}
    made.manifest["datasets"]["labels"]["encodings"][0]["configuration"]["new"] = ignorable
    formats.verify(made.file(), hdf5=False)


def test_golden_vectors_of_the_order_are_those_of_the_file():
    """Section 8.4 shows vectors of tests/golden/order.json, which the tests in tests/order/ check."""
    vectors = json.loads((GOLDEN / "order.json").read_text())
    section = SPEC.split("### 8.4")[1].split("## 9.")[0]
    numbers = [row.split("|")[2].strip() for row in section.splitlines() if row.startswith("| ")][1:]
    assert numbers[0] == f"`{vectors['philox'][2]['words']}`"
    for row, entry in zip(numbers[1:4], vectors["bits"], strict=False):
        assert row == ", ".join(f"`{bits}`" for bits in entry["bits"][:3])
    tens = [v["order"] for v in vectors["permutation"] if v["n"] == 10][:3]
    assert [json.loads(f"[{row}]") for row in numbers[4:7]] == tens
    assert json.loads(f"[{numbers[7]}]") == vectors["paired"][1]["pairs"]
    assert json.loads(f"[{numbers[8]}]") == vectors["noise"][0]["normals"]


def test_the_example_of_the_appendix():
    data = (GOLDEN / "v1.0" / "encoding-none.dpk").read_bytes()
    appendix = SPEC.split("## Appendix.")[1]
    for line in re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?){16})$", appendix, re.M):
        start = int(line[0], 16)
        assert data[start : start + 16] == bytes.fromhex(line[1])
    reader = SpecReader(data)
    assert appendix.split("```json\n")[1].split("\n```")[0].encode() == reader.text
    assert reader.content_digest() in appendix
    assert f"{len(data)} bytes" in appendix


def test_every_member_of_the_models_is_in_the_specification():
    """No field, kind or encoding is left out of the text."""
    schema = json.loads(PAGE.with_name("manifest.schema.json").read_text())
    missing = [
        (name, member)
        for name, model in schema["$defs"].items()
        for member in model.get("properties", {})
        if f"`{member}`" not in SPEC
    ]
    assert missing == []
    for name in schema["$defs"]:
        if "." in name:
            assert f"**`{name.partition('.')[2]}`**" in SPEC


def test_defaults_are_those_of_the_specification():
    """Tables state defaults; the content digest depends on some of them."""
    from dsetpack.formats.manifest import DatasetEntry, PartEntry, TensorEntry

    def defaults(model):
        return {name: field.default for name, field in model.model_fields.items() if not field.is_required()}

    assert defaults(PartEntry) == {"config": {}, "stage": 0, "name": None, "class_decoders": None}
    assert defaults(TensorEntry) == {"encodings": (), "dataset": None, "start": 0}
    assert defaults(DatasetEntry) == {"encodings": ()}
    limits = formats.Limits()
    assert (limits.manifest, limits.values, limits.chunk, limits.total) == (2**24, 2**18, 2**30, 2**33)
    assert math.log2(limits.total) == 33


def test_integers_of_many_digits_are_no_floats():
    """Section 3: only numbers that are read as floats must be finite floats."""
    made = images(extra={"n": 10**400})
    assert Reader(made).manifest.card.extra == SpecReader(made).manifest["card"]["extra"] == {"n": 10**400}

"""Files that attack a reader, each with the error that the reader must raise.

    python -m tests.support.attacks.attack_builder        writes everything in tests/attacks/

The same versions of zstd and HDF5 make the same bytes. Digests are correct if the attack lies behind them. ``stage``
says which step must refuse the file: ``open`` (reads header, manifest and index, but no data), ``read`` (reads chunks;
``verify(hdf5=False)`` finds the error at the latest), or ``view`` (only the HDF5 part lies).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import h5py
import numpy as np
import zstandard

from tests.support.attacks.attack_axes import axes
from tests.support.attacks.attack_views import views
from tests.support.attacks.dpk_draft import ZSTD, Draft, Json, canonical, draft, entry, frame
from tests.support.paths import ATTACKS

CARD: Json = {"title": "attack", "classes": ["a", "b", "c"], "shape": [1, 2, 2]}
PART: Json = {"kind": "images", "sources": 4, "tensors": {"sources": "sources", "labels": "labels"}}
SOURCES = (np.arange(16, dtype=np.float32) / 16).reshape(4, 1, 2, 2)
LABELS = np.array([0, 1, 2, 0], np.uint8)
GIB = 1 << 30


@dataclass(frozen=True)
class Attack:
    """A file, the step that must refuse it, and the error that it must raise."""

    name: str
    data: bytes
    stage: str
    error: str
    match: str

    def expectation(self) -> Json:
        found = asdict(self)
        del found["data"]
        return found


def honest(**card: Any) -> Draft:
    """A sound pack: four images in three classes."""
    return draft({"sources": SOURCES, "labels": LABELS}, CARD | card, PART)


def quantized() -> Draft:
    """A sound pack whose sources are codes with scales in a tensor."""
    codes = np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2)
    tensors = {"sources": codes, "labels": LABELS, "scale": np.ones((4, 1, 1, 1), np.float32)}
    made = draft(tensors, CARD, PART)
    configuration = {"bits": 4, "block": [1, 1, 2, 2], "scale": "scale", "offset": "scale"}
    steps = [{"name": "quantize", "configuration": configuration}]
    made.manifest["tensors"]["sources"] |= {"dtype": "float32", "encodings": steps}
    return made


def drawn() -> Draft:
    """A sound pack with a generator that makes two images [1, 8, 8] per class."""
    norm = ("weight", "bias", "running_mean", "running_var")
    shapes = {"fc.weight": (16, 4), "fc.bias": (16,), "out.weight": (1, 1, 3, 3), "out.bias": (1,)}
    shapes |= {f"fc_norm.{name}": (16,) for name in norm}
    for number, kernel in enumerate((4, 3, 3, 3)):
        shapes |= {f"blocks.{number}.conv.weight": (1, 1, kernel, kernel), f"blocks.{number}.conv.bias": (1,)}
        shapes |= {f"blocks.{number}.norm.{name}": (1,) for name in norm}
    tensors = {role: np.zeros(shape, np.float32) for role, shape in shapes.items()}
    part = {"kind": "generator", "config": {"width": 1, "noise": 4}, "sources": 0, "tensors": {r: r for r in shapes}}
    return draft(tensors, CARD | {"shape": [1, 8, 8], "per_class": 2}, part)


def many_pairs(count: int, *, soft: bool = False) -> Draft:
    """A pack with ``count`` sources and ``count`` decoders."""
    labels = np.zeros((count, 3), np.float32) if soft else np.zeros(count, np.uint8)
    tensors = {"sources": np.zeros((count, 1, 1, 1), np.float32), "labels": labels}
    for layer in range(2):
        tensors[f"layers.{layer}.weight"] = np.zeros((count, 1, 1, 2, 2), np.float32)
        tensors[f"layers.{layer}.bias"] = np.zeros((count, 1), np.float32)
    part = {"kind": "kfs", "config": {"decoders": count, "channels": [1, 1]}, "sources": count}
    card = CARD | {"shape": [1, 4, 4]} | ({"labels": {"kind": "soft"}} if soft else {})
    return draft(tensors, card, part | {"tensors": {role: role for role in tensors}})


def tall_patches() -> Draft:
    """An image of one megabyte; enlarging its patches needs a matrix of 32 GiB."""
    tensors = {"sources": np.zeros((1, 1, 2**17, 2), np.float32), "labels": LABELS[:1]}
    part = PART | {"kind": "upsample", "config": {"factor": 2}, "sources": 1}
    return draft(tensors, CARD | {"shape": [1, 2**17, 2]}, part)


def narrow_decoder() -> Draft:
    """Layers from many channels to one and back: less than a megabyte, but 256 GiB if merged into one layer."""
    width = (2**16, 1, 1, 2**14)
    tensors = {"sources": np.zeros((1, width[0], 1, 1), np.float32), "labels": LABELS[:1]}
    for layer in range(3):
        tensors[f"layers.{layer}.weight"] = np.zeros((1, *width[layer : layer + 2], 2, 2), np.float32)
        tensors[f"layers.{layer}.bias"] = np.zeros((1, width[layer + 1]), np.float32)
    part = {"kind": "kfs", "config": {"decoders": 1, "channels": list(width[:3])}, "sources": 1}
    card = CARD | {"shape": [width[3], 8, 8]}
    return draft(tensors, card, part | {"tensors": {role: role for role in tensors}})


@functools.cache
def bomb(size: int) -> bytes:
    """A zstd frame of ``size`` zeros; a gigabyte of zeros takes 32 KB."""
    made = zstandard.ZstdCompressor(level=19, write_content_size=True).compressobj(size=size)
    piece = bytes(1 << 20)
    return b"".join([*(made.compress(piece) for _ in range(size >> 20)), made.flush()])


def headers() -> Iterator[tuple[str, bytes, str, str]]:
    good = honest().file()
    yield "empty", b"", "FormatError", "is empty"
    yield "png", b"\x89PNG\r\n\x1a\n" + good[8:], "FormatError", "not a .dpk: it starts with"
    yield "plain-hdf5", good[1024:], "FormatError", "not a .dpk: it starts with"
    yield "text-crlf-to-lf", good.replace(b"\r\n", b"\n"), "FormatError", "damaged by a transfer in text mode"
    yield "text-lf-to-crlf", good.replace(b"\n", b"\r\n"), "FormatError", "damaged by a transfer in text mode"
    yield "text-seven-bits", bytes(b & 127 for b in good), "FormatError", "damaged by a transfer in text mode"
    yield "text-utf8", good.decode("latin-1").encode(), "FormatError", "damaged by a transfer in text mode"
    yield "text-utf8-replaced", good.decode("utf-8", "replace").encode(), "FormatError", "in text mode"
    yield "appended", good + b"\0", "IntegrityError", "bytes found, .* expected: bytes were appended"
    yield "appended-zip", good + b"PK\x05\x06" + bytes(18), "IntegrityError", "bytes were appended"
    yield "newer-major", honest().file(major=2), "VersionError", "format 2.0 found, this version reads 1.x"
    yield "older-major", honest().file(major=0), "VersionError", "format 0.0 found"
    yield "header-crc", honest().file(crc=12345), "IntegrityError", "the header is damaged: checksum"
    yield "header-reserved", honest().file(reserved=1), "FormatError", "reserved bytes are not zero"
    yield "header-zeros", honest().file(zeros=b"\0" * 75 + b"x"), "FormatError", "reserved bytes are not zero"
    yield "user-block-odd", honest().file(user_block=1536), "FormatError", "user block of 1536 bytes found"
    yield "user-block-small", honest().file(user_block=256), "FormatError", "user block of 256 bytes found"
    yield "user-block-large", honest().file(user_block=1 << 14), "FormatError", "user block of 16384 bytes found"
    yield "user-block-zero", honest().file(user_block=512, stored=2**40), "FormatError", "user block of 512 bytes"
    yield "file-length-small", honest().file(file_length=100), "FormatError", "is less than its user block"
    yield "file-length-large", honest().file(file_length=2**62), "IntegrityError", "another HDF5 tool changed it"
    yield "manifest-digest", honest().file(digest=bytes(32)), "IntegrityError", "digest is not the header's"
    yield "padding", honest().file(padding=b"\1"), "IntegrityError", "padding after the manifest is not zero"


def frames() -> Iterator[tuple[str, bytes, str, str]]:
    good = honest()
    good.digest_all()
    plain = canonical(good.manifest)
    yield "manifest-declared-large", honest().file(plain=17 << 20), "LimitError", "a manifest of 17825792 bytes"
    yield "manifest-bomb", honest().file(packed=bomb(GIB), plain=GIB), "LimitError", "a manifest of 1073741824"
    yield "manifest-bomb-lies", honest().file(packed=bomb(GIB), plain=999), "FormatError", "declares 1073741824 bytes"
    short = frame(plain)
    yield "manifest-plain-short", honest().file(plain=len(plain) - 1), "FormatError", "a zstd frame declares"
    no_size = frame(plain, write_content_size=False)
    yield "manifest-no-size", honest().file(packed=no_size), "FormatError", "declares no size"
    yield "manifest-two-frames", honest().file(packed=short + frame(b"")), "FormatError", "manifest: a zstd frame"
    yield "manifest-trailing", honest().file(packed=short + b"\0"), "FormatError", "manifest: a zstd frame"
    yield "manifest-no-frame", honest().file(packed=b"not zstd at all"), "FormatError", "a zstd frame is damaged"
    yield "manifest-cut-frame", honest().file(packed=short[:-9]), "FormatError", "manifest: a zstd frame"
    many = plain.replace(b'"title"', b'"extra":{"a":[' + b"0," * 300_000 + b'0]},"title"')
    yield "manifest-values", honest().file(text=many), "LimitError", "about 300.* values in the manifest"


def texts() -> Iterator[tuple[str, bytes, str, str]]:
    made = honest()
    made.digest_all()
    good = canonical(made.manifest)

    def text(name: str, data: bytes, match: str) -> tuple[str, bytes, str, str]:
        return f"json-{name}", made.file(text=data), "FormatError", match

    def extra(name: str, value: bytes, match: str) -> tuple[str, bytes, str, str]:
        return text(name, good.replace(b'"title"', b'"extra":{"x":' + value + b'},"title"'), match)

    yield text("none", b"hello", "is not JSON")
    yield text("empty", b"", "is not JSON|zstd frame")
    yield text("array", b"[]", "manifest: value: Input should be an object")
    yield text("not-utf8", good.replace(b'"attack"', b'"\xff"'), "is not UTF-8")
    yield text("bom", b"\xef\xbb\xbf" + good, "is not JSON")
    yield text("trailing", good + b"{}", "is not JSON")
    yield text("key-twice", good.replace(b'"title"', b'"title":"x","title"'), "key 'title' stands twice")
    yield extra("key-twice-deep", b'{"y":[{"a":1,"a":1}]}', "key 'a' stands twice")
    yield extra("nan", b"NaN", "NaN is not a JSON number")
    yield extra("infinity", b"-Infinity", "-Infinity is not a JSON number")
    yield extra("overflow", b"1e999", "1e999 is too large a number")
    yield extra("surrogate", b'"\\ud800"', "manifest: ")
    yield extra("digits", b"1" * 5000, "is not JSON")
    yield extra("deep", b"[" * 5000 + b"]" * 5000, "nested too deeply|recursion limit")
    yield extra("deep-250", b"[" * 250 + b"]" * 250, "recursion limit|nested")
    control = good.replace(b'"title"', b'"\\u001b[2Jx":1,"title"')
    yield text("unknown-key-escape", control, r"card.\\x1b\[2Jx: Extra inputs are not permitted")


def edited(
    name: str, edit: Callable[[Json], object], error: str, match: str, base: Callable[[], Draft] = honest
) -> tuple[str, bytes, str, str]:
    return name, base().change(edit).file(), error, match


def keys() -> Iterator[tuple[str, bytes, str, str]]:
    def put(*path: Any, value: Any) -> Callable[[Json], None]:
        def edit(manifest: Json) -> None:
            target: Any = manifest
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = value

        return edit

    unknown = "Extra inputs are not permitted"
    yield edited("key-unknown", put("new", value=1), "FormatError", f"new: {unknown}")
    yield edited("key-unknown-card", put("card", "new", value={}), "FormatError", f"card.new: {unknown}")
    needed = {"must_understand": True}
    yield edited("key-must-understand", put("new", value=needed), "FormatError", f"new: {unknown}")
    false = {"must_understand": "false"}
    yield edited("key-must-understand-text", put("new", value=false), "FormatError", f"new: {unknown}")
    yield edited("key-missing", lambda m: m.pop("parts"), "FormatError", "parts: Field required")
    yield edited("kind-unknown", put("parts", 0, "kind", value="warp"), "VersionError", "unknown decoder kind 'warp'")
    yield edited("kind-base", put("parts", 0, "kind", value="base"), "VersionError", "unknown decoder kind 'base'")
    path = put("parts", 0, "kind", value="../../os")
    yield edited("kind-path", path, "VersionError", r"unknown decoder kind '../../os'; .* of format 1.0: update")
    yield edited("kind-config-key", put("parts", 0, "config", value={"x": 1}), "FormatError", f"config: x: {unknown}")
    step = [{"name": "brotli", "configuration": {}}]
    yield edited(
        "encoding-unknown", put("datasets", "labels", "encodings", value=step), "VersionError", "encoding 'brotli'"
    )
    step = [{"name": "base", "configuration": {}}]
    yield edited("encoding-base", put("datasets", "labels", "encodings", value=step), "VersionError", "'base'")
    step = [{"name": "zstd", "configuration": {"level": 99}}]
    yield edited("encoding-level", put("datasets", "labels", "encodings", value=step), "FormatError", "'zstd': level")
    yield edited("card-no-classes", put("card", "classes", value=[]), "FormatError", "card.classes")
    yield edited("card-shape-zero", put("card", "shape", value=[1, 0, 2]), "FormatError", "card.shape.1")
    space = {"kind": "normalized", "mean": [0.0, 0.0], "std": [1.0, 1.0]}
    yield edited("card-space-channels", put("card", "space", value=space), "FormatError", "2 means and 2 deviations")
    useless = "must be finite, and not 0, as float32"
    for name, mean, std, match in (
        ("std-tiny", 0.0, 1e-46, useless),
        ("mean-huge", 1e39, 1.0, useless),
        ("digits", 10**400, 1.0, "mean.0: .* valid number"),
    ):
        space = {"kind": "normalized", "mean": [mean], "std": [std]}
        yield edited(f"card-space-{name}", put("card", "space", value=space), "FormatError", match)
    space = {"kind": "warp"}
    yield edited("card-space-unknown", put("card", "space", value=space), "FormatError", "card.space")
    zca = {"kind": "zca", "variant": "kornia", "epsilon": 0.1, "fitted_on": "sha256:" + "0" * 64, "storage": "embed"}
    zca |= {"mean": "no", "matrix": "sources"}
    yield edited("card-zca-missing", put("card", "space", value=zca), "FormatError", "tensor 'no' is not in the index")
    zca |= {"variant": "frepo", "storage": "refit", "mean": None, "matrix": None, "spectrum": [1.0]}
    for name, channels, std, match in (("channels", 5, 1.0, "5 means and 5 dev"), ("std", 1, 1e-300, "must be finite")):
        standard = {"channel_mean": [0.0] * channels, "channel_std": [std] * channels}
        yield edited(f"card-zca-{name}", put("card", "space", value=zca | standard), "FormatError", match)
    yield edited(
        "name-slash", lambda m: m["datasets"].update({"../x": m["datasets"]["labels"]}), "FormatError", "datasets"
    )
    yield edited(
        "name-newline", lambda m: m["tensors"].update({"x\n": m["tensors"]["labels"]}), "FormatError", "tensors"
    )
    yield edited("part-none", put("parts", value=[]), "FormatError", "parts: ")
    yield edited("offset-float", put("datasets", "labels", "chunks", 0, "offset", value=1.0), "FormatError", "offset")
    yield edited("offset-text", put("datasets", "labels", "chunks", 0, "offset", value="1"), "FormatError", "offset")
    yield edited("offset-true", put("datasets", "labels", "chunks", 0, "offset", value=True), "FormatError", "offset")


def index() -> Iterator[tuple[str, bytes, str, str]]:
    def chunk(dataset: str, **values: Any) -> Callable[[Json], None]:
        return lambda m: m["datasets"][dataset]["chunks"][0].update(values)

    def dataset(name: str, **values: Any) -> Callable[[Json], None]:
        return lambda m: m["datasets"][name].update(values)

    def tensor(name: str, **values: Any) -> Callable[[Json], None]:
        return lambda m: m["tensors"][name].update(values)

    yield edited("offset-negative", chunk("labels", offset=-1), "FormatError", "offset: .* greater than or equal to 0")
    yield edited("offset-outside", chunk("labels", offset=1 << 30), "FormatError", "lies outside the .* bytes there")
    yield edited("offset-huge", chunk("labels", offset=2**63 - 1), "FormatError", "lies outside the")
    yield edited("offset-too-huge", chunk("labels", offset=2**63), "FormatError", "offset: ")
    yield edited("offset-digits", chunk("labels", offset=10**4000), "FormatError", "offset")
    yield edited("length-zero", chunk("labels", length=0), "FormatError", "length: .* greater than or equal to 1")
    yield edited("length-outside", chunk("labels", length=100_000), "FormatError", "lies outside the")
    made = honest()
    first = made.manifest["datasets"]["sources"]["chunks"][0]
    yield edited("chunks-same", chunk("labels", **first), "FormatError", "overlaps one of dataset")
    before = made.manifest["datasets"]["labels"]["chunks"][0]
    near = {"offset": before["offset"] + before["length"] - 1}
    yield edited("chunks-overlap", chunk("sources", **near), "FormatError", "overlaps one of dataset 'labels'")
    twice = dataset("labels", chunk=[2], chunks=made.manifest["datasets"]["labels"]["chunks"] * 2)
    yield edited("chunk-twice", twice, "FormatError", "overlaps one of dataset 'labels'")

    yield edited("chunk-count", dataset("labels", chunk=[1]), "FormatError", "1 chunk found, 4 expected")
    yield edited("chunk-none", dataset("labels", chunks=[]), "FormatError", "chunks: ")
    yield edited("chunk-rank", dataset("labels", chunk=[4, 1]), "FormatError", "only the first axis of")
    yield edited("chunk-axis", dataset("sources", chunk=[4, 1, 1, 2]), "FormatError", "only the first axis of")
    yield edited("chunk-large", dataset("labels", chunk=[5]), "FormatError", "are larger than the dataset")
    yield edited("chunk-zero", dataset("labels", chunk=[0]), "FormatError", "chunk.0: ")
    yield edited("chunk-uncompressed", dataset("labels", encodings=[]), "FormatError", "an uncompressed chunk of")
    yield edited("rank-33", dataset("labels", shape=[1] * 33, chunk=[1] * 33), "FormatError", "labels.shape: ")

    step = {"name": "shuffle", "configuration": {"itemsize": 8}}
    yield edited("shuffle-itemsize", dataset("sources", encodings=[step, ZSTD]), "FormatError", "float32 has 4 bytes")
    yield edited(
        "shuffle-last", dataset("sources", encodings=[ZSTD, step]), "FormatError", "at most shuffle, then zstd"
    )
    yield edited("zstd-twice", dataset("sources", encodings=[ZSTD, ZSTD]), "FormatError", "at most shuffle, then zstd")
    cast = {"name": "cast", "configuration": {"dtype": "float16"}}
    yield edited("cast-in-dataset", dataset("sources", encodings=[cast]), "FormatError", "belongs to a tensor")
    yield edited("zstd-in-tensor", tensor("sources", encodings=[ZSTD]), "FormatError", "it belongs to a dataset")
    quantize = {"name": "quantize", "configuration": {"bits": 8, "scale": 1.0, "offset": 0.0}}
    yield edited(
        "two-steps", tensor("sources", encodings=[quantize, cast]), "FormatError", "expected at most one of|cast"
    )
    yield edited("stored-dtype", tensor("sources", encodings=[quantize]), "FormatError", "stored as uint8, but dataset")
    no_scale = {"name": "quantize", "configuration": {"bits": 8}}
    yield edited(
        "quantize-no-scale", tensor("sources", encodings=[no_scale]), "FormatError", "needs 'scale' and 'offset'"
    )

    yield edited("tensor-dtype", tensor("sources", dtype="float64"), "FormatError", "stored as float64, but dataset")
    yield edited("tensor-dtype-unknown", tensor("sources", dtype="bool"), "FormatError", "sources.dtype: ")
    yield edited("tensor-dataset", tensor("labels", dataset="no"), "FormatError", "dataset 'no' is not in the index")
    yield edited(
        "tensor-none", lambda m: m["tensors"]["labels"].pop("dataset"), "FormatError", "None is not in the index"
    )
    yield edited("tensor-start", tensor("labels", start=1), "FormatError", "elements 1..5 exceed dataset 'labels'")
    yield edited("tensor-start-huge", tensor("labels", start=2**63 - 1), "FormatError", "exceed dataset 'labels'")
    same = tensor("labels", dataset="sources", dtype="float32")
    yield edited("tensors-overlap", same, "FormatError", "a tensor starts at element 0, 4 expected|belong to a tensor")
    orphan = {"again": {"dtype": "uint8", "shape": [2], "dataset": "labels", "start": 1}}
    yield edited("tensors-share", lambda m: m["tensors"].update(orphan), "FormatError", "a tensor starts at element")
    gap = dataset("labels", shape=[5], chunk=[5])
    yield edited("tensors-gap", gap, "FormatError", "4 of 5 elements belong to a tensor")
    empty = {"e": {"dtype": "uint8", "shape": [0], "dataset": "labels"}}
    yield edited("tensor-empty", lambda m: m["tensors"].update(empty), "FormatError", "without elements has no dataset")
    wide = {"e": {"dtype": "uint8", "shape": [0, 2**62, 2**62]}}
    yield edited("tensor-empty-wide", lambda m: m["tensors"].update(wide), "LimitError", "the file declares")

    big = [1 << 62] * 32
    yield edited("shape-huge", tensor("sources", shape=big), "LimitError", "the file declares .* bytes of data")
    yield edited("dataset-huge", dataset("sources", shape=big, chunk=big), "LimitError", "the file declares")
    nine, one = [9 << 30], [1 << 30]
    yield (
        "total",
        _gibibytes(9, nine, one),
        "LimitError",
        "the file declares 9663676484 bytes of data; the limit is 858",
    )
    yield "chunk-limit", _gibibytes(1, [5 << 30], [5 << 30]), "LimitError", "a chunk of 5368709120 bytes; the limit is"
    parts = [PART | {"stage": n} for n in range(40)]

    def many(manifest: Json) -> None:
        rows = 1 << 26
        manifest["parts"] = [part | {"sources": rows} for part in parts]
        manifest["card"]["shape"] = [1, 1, 1]
        for name, shape in (("sources", [rows, 1, 1, 1]), ("labels", [rows])):
            manifest["tensors"][name]["shape"] = shape
            manifest["datasets"][name] |= {"shape": shape, "chunk": shape}

    yield edited("parts-share-all", many, "LimitError", "the file declares 13421772800 bytes of data")
    room = honest()
    room.tail += bytes(20_000)
    yield "rest-room", room.file(), "FormatError", "bytes belong to no chunk; at most"


def _gibibytes(chunks: int, shape: list[int], chunk: list[int]) -> bytes:
    """A file whose chunks declare a gibibyte each, which an index is allowed to do."""
    made = honest()
    data = bomb(1 << 20)
    places = [(len(made.tail) + n * len(data), len(data)) for n in range(chunks)]
    made.tail += data * chunks
    made.manifest["datasets"]["big"] = entry(places, np.zeros(1, np.uint8), [ZSTD]) | {"shape": shape, "chunk": chunk}
    made.manifest["tensors"]["big"] = {"dtype": "uint8", "shape": shape, "dataset": "big"}
    return made.file()


def scales() -> Iterator[tuple[str, bytes, str, str]]:
    def quantize(**values: Any) -> Callable[[Json], None]:
        return lambda m: m["tensors"]["sources"]["encodings"][0]["configuration"].update(values)

    def attack(name: str, edit: Callable[[Json], object], match: str) -> tuple[str, bytes, str, str]:
        return edited(f"quantize-{name}", edit, "FormatError", match, quantized)

    yield attack("bits-9", quantize(bits=9), "'quantize': bits")
    yield attack("missing", quantize(scale="no"), "needs the tensor 'no', which is not in the index")
    yield attack("itself", quantize(scale="sources"), "needs 'sources' as plain float32")
    yield attack("grid", quantize(block=[2, 1, 2, 2]), r"needs 'scale' as plain float32 \[2, 1, 1, 1\]")
    yield attack("block-rank", quantize(block=[1]), "do not fit the shape")
    yield attack("block-33", quantize(block=[1] * 33), "'quantize': block")
    yield attack("block-large", quantize(block=[5, 1, 2, 2]), "do not fit the shape")
    yield attack("block-zero", quantize(block=[0, 1, 2, 2]), "'quantize': block")
    yield attack("mixed", quantize(offset=1.0), "both numbers, both tensor names")
    yield attack("scale-zero", quantize(scale=0.0, offset=1.0), "'scale' must be greater than 0")
    yield attack("scale-tiny", quantize(scale=1e-60, offset=1.0), "'scale' must be greater than 0")
    yield attack("scale-huge", quantize(scale=1e39, offset=1.0), "is not a float32")
    yield attack("blocks-of-one", quantize(scale=1.0, offset=1.0), "one scale cannot serve")


def parts() -> Iterator[tuple[str, bytes, str, str]]:
    def part(**values: Any) -> Callable[[Json], None]:
        return lambda m: m["parts"][0].update(values)

    yield edited(
        "part-shape", part(sources=3), "FormatError", r"'labels' has shape \[4\], the decoder needs \[3\]|sources"
    )
    yield edited("part-card-shape", lambda m: m["card"].update(shape=[1, 4, 4]), "FormatError", "the decoder needs")
    yield edited("part-no-sources", part(sources=0), "FormatError", "0 sources found for kind 'images'|needs")
    yield edited("part-role-missing", part(tensors={"sources": "sources"}), "FormatError", "tensors for the roles")
    extra = {"sources": "sources", "labels": "labels", "bank": "labels"}
    yield edited("part-role-extra", part(tensors=extra), "FormatError", "tensors for the roles")
    swapped = {"sources": "sources", "labels": "no"}
    yield edited("part-tensor-missing", part(tensors=swapped), "FormatError", "labels: tensor 'no' is not in the index")
    yield edited(
        "part-kfs", part(kind="kfs", config={"decoders": 2, "channels": [2, 2]}), "FormatError", "for the roles"
    )
    factor = part(kind="upsample", config={"factor": 3})
    yield edited("part-factor", factor, "FormatError", "factor 3 does not fit image height 2")
    yield edited("part-factor-huge", part(kind="upsample", config={"factor": 10**4000}), "FormatError", "factor")
    generator = part(kind="generator", sources=0, tensors={}, config={})
    yield edited("part-generator", generator, "FormatError", "expected a square with sides")
    haba = part(kind="haba", config={"decoders": 2**62, "channels": 2**62})
    yield edited("part-haba-huge", haba, "FormatError", "tensors for the roles")
    labels = {"dtype": "uint8", "shape": [4], "dataset": "labels"}
    floats = {"sources": "labels", "labels": "labels"}
    yield edited(
        "part-sources-integers",
        lambda m: m.update(
            parts=[PART | {"tensors": floats}], tensors={"labels": labels}, datasets={"labels": m["datasets"]["labels"]}
        ),
        "FormatError",
        "sources: tensor 'labels' has shape",
    )
    soft = lambda m: m["card"].update(labels={"kind": "soft"})  # noqa: E731
    yield edited("part-labels-soft", soft, "FormatError", r"the decoder needs \[4, 3\]")
    yield edited("class-decoders-count", part(class_decoders=[[0]]), "FormatError", "has 1 list, one for each of 3")
    yield edited("class-decoders-uneven", part(class_decoders=[[0], [0], []]), "FormatError", "equally many decoders")
    yield edited("class-decoders-empty", part(class_decoders=[[], [], []]), "FormatError", "equally many decoders")
    yield edited(
        "class-decoders-range", part(class_decoders=[[0], [0], [1]]), "FormatError", r"of class 2: \[1\]; 0..0"
    )
    yield edited("class-decoders-twice", part(class_decoders=[[0, 0]] * 3), "FormatError", "of class 0: ")
    soft = draft(
        {"sources": SOURCES, "labels": np.eye(4, 3, dtype=np.float32)}, CARD | {"labels": {"kind": "soft"}}, PART
    )
    chosen = soft.change(part(class_decoders=[[0]] * 3))
    yield "class-decoders-soft", chosen.file(), "FormatError", "chosen by class: the card's labels must be hard"
    many = [list(range(5000))] * 3
    yield edited("class-decoders-long", part(class_decoders=many), "FormatError", "of class 0: .*…$")
    yield edited("image-huge", lambda m: m["card"].update(shape=[1, 2**40, 2**40]), "LimitError", "an image would take")
    per_class = lambda m: m["card"].update(per_class=2**60)  # noqa: E731
    yield edited("per-class-huge", per_class, "LimitError", "the labels of 34.* pairs take 8 bytes each", drawn)
    many = lambda m: m.update(card=m["card"] | {"per_class": 10**7}, parts=m["parts"] * 40)  # noqa: E731
    yield edited("per-class-parts", many, "LimitError", "the labels of 1200000000 pairs take 8 bytes each", drawn)
    yield "pairs-huge", many_pairs(2**16).file(), "LimitError", "the labels of 4294967296 pairs take 8 bytes each"
    soft = many_pairs(2**15, soft=True).file()
    yield "pairs-huge-soft", soft, "LimitError", "the labels of 1073741824 pairs take 12 bytes each"
    yield "prepared-upsample", tall_patches().file(), "LimitError", "decoders would prepare 34359738376 bytes"
    yield "prepared-kfs", narrow_decoder().file(), "LimitError", "decoders would prepare 274882101248 bytes"


def contents() -> Iterator[tuple[str, bytes, str, str]]:
    made = honest()
    made.digest_all()
    offset = made.manifest["datasets"]["sources"]["chunks"][0]["offset"]
    flipped = made.copy()
    flipped.tail = flipped.tail[:offset] + bytes([flipped.tail[offset] ^ 1]) + flipped.tail[offset + 1 :]
    yield (
        "chunk-digest",
        flipped.file(digests=False),
        "IntegrityError",
        "dataset 'sources', chunk 0: digest .* expected",
    )
    rest = made.copy()
    rest.tail = rest.tail[: offset - 1] + bytes([rest.tail[offset - 1] ^ 1]) + rest.tail[offset:]
    yield "rest-digest", rest.file(digests=False), "IntegrityError", "bytes outside the chunks were changed"

    def labels(name: str, values: np.ndarray, match: str) -> tuple[str, bytes, str, str]:
        return name, draft({"sources": SOURCES, "labels": values}, CARD, PART).file(), "FormatError", match

    yield labels("label-range", np.array([0, 1, 3, 0], np.uint8), "label 3 of source 2; the card has 3 classes")
    yield labels("label-negative", np.array([0, -1, 2, 0], np.int8), "label -1 of source 1; the card has 3 classes")
    yield labels("label-wraps", np.array([0, 1, 2**32, 0], np.int64), "label 4294967296 of source 2")

    def floats(name: str, value: float, **card: Any) -> tuple[str, bytes, str, str]:
        values = SOURCES.copy()
        values[2, 0, 1, 0] = value
        data = draft({"sources": values, "labels": LABELS}, CARD | card, PART).file()
        return name, data, "FormatError", f"{value} at element 10; the card promises finite values"

    yield floats("nan", float("nan"))
    yield floats("infinity", -float("inf"))
    scales = quantized()
    codes = np.full((4, 1, 2, 2), 255, np.uint8)
    scales = draft({"sources": codes, "labels": LABELS}, CARD, PART)
    step = {"name": "quantize", "configuration": {"bits": 8, "scale": 3e38, "offset": 0.0}}
    scales.manifest["tensors"]["sources"] |= {"dtype": "float32", "encodings": [step]}
    yield "quantize-overflow", scales.file(), "FormatError", "inf at element 0; the card promises finite values"

    def chunk(name: str, data: bytes, match: str) -> tuple[str, bytes, str, str]:
        made = honest()
        place = {"offset": len(made.tail), "length": len(data), "sha256": ""}
        made.tail += data
        made.manifest["datasets"]["sources"]["chunks"] = [place]
        return name, made.file(), "FormatError", f"dataset 'sources', chunk 0: .*{match}"

    plain = SOURCES.tobytes()
    yield chunk("frame-lies", bomb(GIB), "declares 1073741824 bytes, 64 bytes expected")
    yield chunk("frame-short", frame(plain[:-4]), "declares 60 bytes, 64 bytes expected")
    yield chunk("frame-no-size", frame(plain, write_content_size=False), "declares no size")
    yield chunk("frame-junk", b"junk, not zstd", "is damaged")
    yield chunk("frame-cut", frame(plain)[:-6], "is damaged")
    yield chunk("frame-checksum", frame(plain)[:-1] + b"\0", "is damaged")
    yield chunk("frame-two", frame(plain) + frame(plain), "is damaged")
    yield chunk("frame-trailing", frame(plain) + b"\0", "is damaged")
    yield chunk("frame-skippable", b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frame(plain), "a zstd frame")
    yield chunk("frame-dictionary", frame(plain, plain), "is damaged")


def attacks() -> list[Attack]:
    """All attacks."""
    groups = {"open": (headers, frames, texts, keys, index, scales, parts), "read": (contents,), "view": (views, axes)}
    made = [
        Attack(name, data, stage, error, match)
        for stage, all_of in groups.items()
        for group in all_of
        for name, data, error, match in group()
    ]
    assert len({a.name for a in made}) == len(made)
    return made


def versions() -> Json:
    """The versions of the libraries that determine the bytes."""
    return {"zstd": ".".join(map(str, zstandard.ZSTD_VERSION)), "hdf5": h5py.version.hdf5_version}


def main() -> None:
    folder = ATTACKS / "files"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.dpk"):
        old.unlink()
    made = attacks()
    for attack in made:
        (folder / f"{attack.name}.dpk").write_bytes(attack.data)
    expectations = [attack.expectation() for attack in made]
    (ATTACKS / "attacks.json").write_text(json.dumps(expectations, indent=1) + "\n", encoding="utf-8")
    (ATTACKS / "versions.json").write_text(json.dumps(versions()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

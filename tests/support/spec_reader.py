"""A reader of .dpk files written from formats/SPEC.md alone: it imports nothing from dsetpack."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from typing import Any

import numpy as np
import zstandard

Json = dict[str, Any]


class SpecReader:
    """Sections 1 to 3 and 6 of the specification."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        assert data[:8] == bytes.fromhex("8A44504B0D0A1A0A")
        major, _, reserved, self.user_block, length, stored, plain = struct.unpack_from("<HHIQQQQ", data, 8)
        assert (major, reserved) == (1, 0)
        assert struct.unpack_from("<I", data, 252) == (zlib.crc32(data[:252]),)
        assert not any(data[176:252])
        assert length == len(data)
        smallest = 512
        while smallest < 256 + stored:
            smallest *= 2
        assert self.user_block in (smallest, 2 * smallest)
        frame = data[256 : 256 + stored]
        assert hashlib.sha256(frame).digest() == data[48:80]
        assert not any(data[256 + stored : self.user_block])
        assert zstandard.frame_content_size(frame) == plain
        self.text = zstandard.ZstdDecompressor().decompress(frame)
        self.manifest: Json = json.loads(self.text)
        self._check_rest()

    def _check_rest(self) -> None:
        spans = sorted(
            (c["offset"], c["offset"] + c["length"]) for d in self.manifest["datasets"].values() for c in d["chunks"]
        )
        rest, end, tail = hashlib.sha256(), 0, self.data[self.user_block :]
        for start, stop in spans:
            assert end <= start < stop <= len(tail)
            rest.update(tail[end:start])
            end = stop
        rest.update(tail[end:])
        assert rest.hexdigest() == self.manifest["rest"]

    def tensor(self, name: str) -> np.ndarray:
        """Section 3.4."""
        entry = self.manifest["tensors"][name]
        shape = tuple(entry["shape"])
        if 0 in shape:
            return np.empty(shape, entry["dtype"])
        dataset = self.manifest["datasets"][entry["dataset"]]
        itemsize = np.dtype(dataset["dtype"]).itemsize
        plain = b""
        for chunk in dataset["chunks"]:
            start = self.user_block + chunk["offset"]
            data = self.data[start : start + chunk["length"]]
            assert hashlib.sha256(data).hexdigest() == chunk["sha256"]
            for step in reversed(dataset.get("encodings", [])):
                data = self._bytes_back(step, data, math.prod(dataset["chunk"]) * itemsize)
            assert len(data) == math.prod(dataset["chunk"]) * itemsize
            plain += data
        stored = np.frombuffer(plain, np.dtype(dataset["dtype"]).newbyteorder("<"))
        start = entry.get("start", 0)
        values = stored[start : start + math.prod(shape)].reshape(shape).astype(dataset["dtype"])
        for step in reversed(entry.get("encodings", [])):
            values = self._array_back(step, values, entry["dtype"])
        assert values.dtype.name == entry["dtype"]
        return values

    @staticmethod
    def _bytes_back(step: Json, data: bytes, size: int) -> bytes:
        """Section 6.2."""
        if step["name"] == "zstd":
            assert zstandard.frame_content_size(data) == size
            return zstandard.ZstdDecompressor().decompress(data)
        assert step["name"] == "shuffle"
        width = step["configuration"]["itemsize"]
        count = len(data) // width
        return bytes(data[b * count + i] for i in range(count) for b in range(width))

    def _array_back(self, step: Json, stored: np.ndarray, dtype: str) -> np.ndarray:
        """Section 6.1."""
        settings = step["configuration"]
        if step["name"] == "cast":
            if settings["dtype"] == "float16":
                return stored.astype(dtype)
            words = b"".join(struct.pack("<I", int(s) << 16) for s in stored.reshape(-1))
            return np.frombuffer(words, "<f4").reshape(stored.shape).astype(dtype)
        assert step["name"] == "quantize"
        found = np.empty(stored.shape, np.float32)
        block = settings.get("block") or stored.shape
        scale, offset = settings["scale"], settings["offset"]
        if isinstance(scale, str):
            scales, offsets = self.tensor(scale), self.tensor(offset)
        for place in np.ndindex(*stored.shape):
            if isinstance(scale, str):
                cell = tuple(i // b for i, b in zip(place, block, strict=True))
                s, o = scales[cell], offsets[cell]
            else:
                s, o = np.float32(scale), np.float32(offset)
            found[place] = np.float32(np.float32(np.float32(stored[place]) * s) + o)
        return found

    def content_digest(self) -> str:
        """Section 7."""
        datasets = {}
        for name, dataset in self.manifest["datasets"].items():
            kept = {k: dataset[k] for k in ("dtype", "shape", "chunk")}
            datasets[name] = _without(kept | {"encodings": _steps(dataset)}, {"encodings": []})
            datasets[name]["chunks"] = [chunk["sha256"] for chunk in dataset["chunks"]]
        defaults = {"encodings": [], "dataset": None, "start": 0}
        tensors = {
            name: _without(
                {k: entry.get(k, defaults.get(k)) for k in ("dtype", "shape", *defaults)}
                | {"encodings": _steps(entry)},
                defaults,
            )
            for name, entry in self.manifest["tensors"].items()
        }
        defaults = {"config": {}, "stage": 0, "name": None, "class_decoders": None}
        parts = [
            _without({k: part.get(k, defaults.get(k)) for k in ("kind", "sources", "tensors", *defaults)}, defaults)
            for part in self.manifest["parts"]
        ]
        text = canonical({"datasets": datasets, "parts": parts, "tensors": tensors})
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _steps(entry: Json) -> list[Json]:
    return [
        _without({"name": step["name"], "configuration": step.get("configuration", {})}, {"configuration": {}})
        for step in entry.get("encodings", [])
    ]


def _without(value: Json, defaults: Json) -> Json:
    return {k: v for k, v in value.items() if k not in defaults or v != defaults[k]}


def canonical(value: Any) -> str:
    """Section 7, character by character."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return '"' + "".join(short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if isinstance(value, float):
        return _float(value)
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _float(x: float) -> str:
    digits, exponent = next(  # the fewest digits that give the same number
        (m, int(e)) for n in range(17) for m, _, e in [f"{abs(x):.{n}e}".partition("e")] if float(f"{m}e{e}") == abs(x)
    )
    sign, digits = "-" if math.copysign(1, x) < 0 else "", digits.replace(".", "").rstrip("0") or "0"
    if x == 0 or 1e-4 <= abs(x) < 1e16:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        digits = digits.ljust(exponent + 1, "0")
        return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :] or '0'}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"

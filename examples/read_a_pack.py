"""Read a .dpk file with numpy and zstandard alone: ``python examples/read_a_pack.py FILE``.

From top to bottom this is dsetpack/formats/SPEC.md, whose sections stand in brackets: what decoding needs of it.
"""

import hashlib
import json
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import zstandard


class PackError(ValueError):
    """The file is not as the specification says, or needs what this reader leaves out."""


def check(what, found, expected):  # expected: a list or a range; 1.0 and true are not the integer 1 [3]
    if found not in expected or type(found) is not type(expected[0]):
        raise PackError(f"{what}: {found!r:.99} found, {expected!r:.200} expected")


class Pack:
    """An open pack. What says how to decode is handed to methods by name, so that unknown members are refused [3.1]."""

    def __init__(self, data):  # [2] the header: little-endian numbers at fixed places, checked in this order
        check("magic", data[:8], [b"\x8aDPK\r\n\x1a\n"])
        check("major version", data[8:10], [b"\1\0"])
        check("checksum of the header", zlib.crc32(data[:252]), [int.from_bytes(data[252:256], "little")])
        check("reserved bytes", data[12:16] + data[176:252], [bytes(80)])
        block, length, stored, plain = (int.from_bytes(data[at : at + 8], "little") for at in (16, 24, 32, 40))
        check("user block", block, [max(512, 1 << (255 + stored).bit_length()) * n for n in (1, 2)])
        check("length of the file", len(data), [max(length, block)])
        check("length of the manifest", max(stored, plain), range(2**24 + 1))  # [10]
        frame, self.tail = data[256 : 256 + stored], data[block:]
        self.digest = f"sha256:{hashlib.sha256(frame).hexdigest()}"  # [7] it pins every byte after the header
        check("digest of the manifest", self.digest, [f"sha256:{data[48:80].hex()}"])
        check("bytes after the manifest", data[256 + stored : block].strip(b"\0"), [b""])
        self.manifest(**json.loads(self.zstd(frame, plain), object_pairs_hook=self.members))

    def members(self, pairs):  # [3.1] of a JSON object, without those that say they may be ignored
        return {name: v for name, v in pairs if type(v) is not dict or v.get("must_understand") is not False}

    def manifest(self, card, parts, tensors, datasets, rest):  # [3.3] chunks do not overlap; the rest has a digest too
        spans = sorted((c["offset"], c["offset"] + c["length"]) for d in datasets.values() for c in d["chunks"])
        edges = [0, *(edge for span in spans for edge in span), len(self.tail)]
        check("edges of the chunks", edges, [sorted(edges)])
        others = b"".join(self.tail[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
        check("digest of the rest", hashlib.sha256(others).hexdigest(), [rest])
        check("elements", sum(math.prod(d["chunk"]) * len(d["chunks"]) for d in datasets.values()), range(2**30 + 1))
        self.card, self.tensors, self.datasets = card, tensors, datasets
        space = {"kind": "raw", "mean": [0], "std": [1]} | card.get("space", {})  # [4.1]
        check("space", space["kind"], ["raw", "normalized"])
        self.mean, self.std = (np.float32(space[name])[:, None, None] for name in ("mean", "std"))
        self.pairs = [pair for part in parts for pair in self.part(card, **{"config": {}} | part)]

    def dataset(self, dtype, shape, chunk, chunks, encodings=()):  # [3.2, 3.4] its stored elements
        dtype = np.dtype(dtype).newbyteorder("<")
        check("bytes of a chunk", size := math.prod(chunk) * dtype.itemsize, range(1, 2**30 + 1))  # [10]
        check("chunks", [chunk, len(chunks)], [[[chunk[0], *shape[1:]], -(-shape[0] // chunk[0])]])
        check("encodings", [step["name"] for step in encodings], [[], ["shuffle"], ["zstd"], ["shuffle", "zstd"]])
        return np.frombuffer(b"".join(self.chunk(size, encodings, **each) for each in chunks), dtype)

    def chunk(self, size, encodings, offset, length, sha256):  # [3.4] its plain bytes
        data = self.tail[offset : offset + length]
        check("digest of a chunk", hashlib.sha256(data).hexdigest(), [sha256])
        for step in reversed(encodings):
            data = getattr(self, step["name"])(data, size, **step.get("configuration", {}))
        check("bytes of a chunk", len(data), [size])
        return data

    def tensor(self, dtype, shape, encodings=(), dataset=None, start=0):  # [3.4] its values
        stored = self.dataset(**self.datasets[dataset]) if math.prod(shape) else np.empty(0, dtype)
        values = stored[start : start + math.prod(shape)].reshape(shape)
        check("encodings", [step["name"] for step in encodings], [[], ["cast"], ["quantize"]])
        check("dtype", dtype, ["float32", "float64"] if encodings else [stored.dtype.name])
        for step in encodings:
            values = getattr(self, step["name"])(values, **step["configuration"])
        return values.astype(dtype)

    def part(self, card, kind, config, sources, tensors, class_decoders=None, stage=0, name=None):  # [5] its pairs [8]
        check("decoder kind", kind, ["images", "upsample", "kfs"])
        (C, H, W), z, kernel = card["shape"], config.get("channels", []), config.get("kernel", 2)
        K, L, z = config.get("decoders", config.get("factor", 1) ** 2), len(z), [*z, C]  # [5.1] of images: 1, 0, [C]
        soft = [len(card["classes"])] if card.get("labels", {}).get("kind") == "soft" else []
        shapes = {"sources": [sources, z[0], -(-H // 2**L), -(-W // 2**L)], "labels": [sources, *soft]}
        shapes |= {f"layers.{i}.weight": [K, z[i], z[i + 1], kernel, kernel] for i in range(L)}
        shapes |= {f"layers.{i}.bias": [K, z[i + 1]] for i in range(L)}
        values = {role: self.tensor(**self.tensors[name]) for role, name in tensors.items()}
        check("shapes of a part's tensors", {role: list(array.shape) for role, array in values.items()}, [shapes])
        check("labels", [n for n in values["labels"].flat if not soft and not 0 <= n < len(card["classes"])], [[]])
        check("not finite", [r for r in values if card.get("finite", True) and not np.isfinite(values[r]).all()], [[]])
        check("pairs", sources * K, range(2**24))
        for source, label in zip(np.float32(values["sources"]), values["labels"], strict=True):
            for k in class_decoders[label] if class_decoders else range(K):
                yield label, kind, config, source, H, W, k, values

    def images(self, source, H, W, k, bank):  # [5.1] a source is the image
        return source

    def upsample(self, source, H, W, k, bank, factor, align_corners=False):  # [5.1] patch k, enlarged bilinearly
        padded = np.pad(source, ((0, 0), (0, -H % factor), (0, -W % factor)), constant_values=0.5)
        patch = padded.reshape(len(source), factor, -(-H // factor), factor, -1)[:, k // factor, :, k % factor]
        for axis, n, side in zip((1, 2), patch.shape[1:], (H, W), strict=True):
            x = np.linspace(0, n - 1, side) if align_corners else (np.arange(side) + 0.5) * n / side - 0.5
            patch = np.apply_along_axis(lambda line, x: np.interp(x, np.arange(len(line)), line), axis, patch, x)
        return patch

    def kfs(self, x, H, W, k, bank, decoders, channels, kernel=2):  # [5.1] transposed convs, the centre, the sigmoid
        for i in range(len(channels)):
            weight, bias = bank[f"layers.{i}.weight"][k], bank[f"layers.{i}.bias"][k]
            (h, w), cut = x.shape[1:], {2: 0, 4: 1}[kernel]  # the padding
            y = np.zeros((len(bias), 2 * h + 2 * cut, 2 * w + 2 * cut), np.float32)
            for a, b in np.ndindex(kernel, kernel):  # pixel (i, j) adds to (2i + a, 2j + b)
                y[:, a::2, b::2][:, :h, :w] += np.tensordot(weight[:, :, a, b], x, (0, 0))
            x = y[:, cut : cut + 2 * h, cut : cut + 2 * w] + bias[:, None, None]
        x = x[:, (x.shape[1] - H) // 2 :, (x.shape[2] - W) // 2 :][:, :H, :W]
        return (1 / (1 + np.exp(-x)) - self.mean) / self.std  # [4.1] from raw into the pack's space

    def cast(self, stored, dtype):  # [6.1] a bfloat16 is the upper half of a float32
        return stored if dtype == "float16" else (stored.astype(np.uint32) << 16).view(np.float32)

    def quantize(self, codes, bits, scale, offset, block=None):  # [6.1] a scale and an offset, or some for each block
        at = np.ix_(*(np.arange(n) // b for n, b in zip(codes.shape, block or codes.shape, strict=True)))
        a, b = (self.tensor(**self.tensors[x])[at] if type(x) is str else np.float32(x) for x in (scale, offset))
        return np.float32(codes) * a + b

    def zstd(self, frame, size, level=19):  # [3, 6.2] one frame; decoders believe the size it states, so compare first
        check("size that a zstd frame states", zstandard.frame_content_size(frame), [size])
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)

    def shuffle(self, data, size, itemsize):  # [6.2] byte b of element i is at b·n + i
        return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()

    def decode(self, pair_ids):  # [8] images, float32 [N, C, H, W] in the pack's space, and labels
        pairs = [self.pairs[number] for number in pair_ids]
        images = [getattr(self, kind)(*arguments, **config) for _, kind, config, *arguments in pairs]
        return np.float32(images), np.array([label for label, *_ in pairs])


if __name__ == "__main__":
    sys.tracebacklimit = 0  # errors in one line
    pack = Pack(Path(sys.argv[1]).read_bytes())
    images, _ = pack.decode(range(min(100, len(pack.pairs))))
    print(f"{pack.card['title']!r}: {len(pack.pairs)} pairs of {' and '.join({kind for _, kind, *_ in pack.pairs})}")
    print(f"{pack.digest}, images {list(images.shape)} from {images.min():.3f} to {images.max():.3f}")

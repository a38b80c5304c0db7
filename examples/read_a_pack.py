"""Read a .dpk file with numpy and zstandard alone: ``python examples/read_a_pack.py FILE``.

[n] is a section of dsetpack/formats/SPEC.md. Left out: haba, generator, zca, signatures, empty tensors, and checks that
only hostile files need: JSON types, unknown names, names that stand twice [3], limits [10], what fits what [3.3, 5].
"""

import hashlib
import json
import math
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import zstandard


def require(condition, message):
    if not condition:
        raise ValueError(message)

def zstd_frame(frame, size):  # [3, 6.2] decoders believe the size that a frame states, so it is compared first
    require(zstandard.frame_content_size(frame) == size, f"a zstd frame does not state the expected size, {size}")
    return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)

def read_header(data):  # [2] gives the manifest's frame, its plain size, its digest, and the bytes after the user block
    require(len(data) >= 256 and data[:8] == b"\x8aDPK\r\n\x1a\n", "the file does not start with a pack's header")
    major, block, length, stored, plain, digest, checksum = struct.unpack("<8xH6x4Q32s172xI", data[:256])
    require(major == 1, f"the file has major version {major}, this reader knows 1")
    require(zlib.crc32(data[:252]) == checksum, "the header does not match its checksum")
    smallest = max(512, 1 << (255 + stored).bit_length())  # the smallest power of two >= 512 and >= 256 + stored
    require(block in (smallest, 2 * smallest), f"the user block has a wrong size: {block}")
    require(len(data) == length >= block, f"the file has {len(data)} bytes instead of {length}")
    require(stored <= 2**24 and plain <= 2**24, "the manifest is larger than 16 MiB")
    frame = data[256 : 256 + stored]
    require(hashlib.sha256(frame).digest() == digest, "the manifest does not match its digest")
    require(not any(data[256 + stored : block]), "bytes after the manifest are not zero")
    return frame, plain, f"sha256:{digest.hex()}", data[block:]

def read_manifest(frame, plain, tail):  # [3, 3.3] and bounds sizes, and checks all bytes that belong to no chunk
    manifest = json.loads(zstd_frame(frame, plain))
    shapes = [each.get("chunk", each["shape"]) for kind in ("datasets", "tensors") for each in manifest[kind].values()]
    require(sum(map(math.prod, [*shapes, manifest["card"]["shape"]])) <= 2**30, "the pack is too large for this reader")
    chunks = [chunk for each in manifest["datasets"].values() for chunk in each["chunks"]]
    rest, end = hashlib.sha256(), 0
    for start, length in [*sorted((each["offset"], each["length"]) for each in chunks), (len(tail), 0)]:
        require(end <= start <= start + length <= len(tail), "a chunk overlaps another or leaves the file")
        rest.update(tail[end:start])
        end = start + length
    require(rest.hexdigest() == manifest["rest"], "bytes outside of chunks do not match their digest")
    return manifest

def read_chunk(chunk, encodings, size, itemsize, tail):  # [3.4, 6.2] shuffled, byte b * n + i is byte b of element i
    data = tail[chunk["offset"] : chunk["offset"] + chunk["length"]]
    require(hashlib.sha256(data).hexdigest() == chunk["sha256"], "a chunk does not match its digest")
    data = zstd_frame(data, size) if "zstd" in encodings else data
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes() if "shuffle" in encodings else data

def read_dataset(dataset, tail):  # [3.2] its stored elements
    encodings = [encoding["name"] for encoding in dataset.get("encodings", [])]
    require(encodings in ([], ["shuffle"], ["zstd"], ["shuffle", "zstd"]), f"unknown encodings: {encodings!r:.80}")
    dtype, n = np.dtype(dataset["dtype"]).newbyteorder("<"), math.prod(dataset["chunk"])
    chunks = [read_chunk(chunk, encodings, n * dtype.itemsize, dtype.itemsize, tail) for chunk in dataset["chunks"]]
    return np.frombuffer(b"".join(chunks), dtype)

def read_tensor(tensor, datasets, tensors):  # [3.4, 6.1] its values
    start, shape = tensor.get("start", 0), tensor["shape"]
    values = datasets[tensor["dataset"]][start : start + math.prod(shape)].reshape(shape)
    for encoding in tensor.get("encodings", []):
        name, options = encoding["name"], encoding["configuration"]
        require(name in ("cast", "quantize"), f"unknown encoding of a tensor: {name!r:.80}")
        if name == "cast" and options["dtype"] == "bfloat16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        elif name == "quantize":
            index = np.ix_(*(np.arange(n) // b for n, b in zip(shape, options.get("block") or shape, strict=True)))
            a, b = (tensors[x][index] if isinstance(x, str) else x for x in (options["scale"], options["offset"]))
            values = np.float32(values) * np.float32(a) + np.float32(b)  # two roundings: no fused multiply-add
    require(np.dtype(tensor["dtype"]).itemsize <= 8, "an element of a tensor is too large for this reader")
    return values.astype(tensor["dtype"])

def locate(card, parts, tensors):  # [5, 8] the part, source and decoder of every pair, in order
    pairs, classes, hard = [], len(card["classes"]), card.get("labels", {}).get("kind", "hard") == "hard"
    for part in parts:
        kind, config = part["kind"], part.get("config", {})
        decoders = {"images": 1, "upsample": config.get("factor", 0) ** 2, "kfs": config.get("decoders", 0)}
        require(kind in decoders, f"unknown decoder kind: {kind!r:.80}")
        K, labels = decoders[kind], tensors[part["tensors"]["labels"]]
        require(not hard or (labels.min() >= 0 and labels.max() < classes), "a label is not in the list of classes")
        require(len(pairs) + len(labels) * K <= 2**24, "there are too many pairs for this reader")
        lists = part.get("class_decoders", [range(K)] * classes)
        good = [len(each) == len(lists[0]) and all(0 <= k < K for k in each) for each in lists]
        require(len(good) == classes and all(good), f"class_decoders are not as many of 0 ... {K - 1} for each class")
        for source, label in enumerate(labels):
            pairs += [(part, source, k) for k in lists[label if hard else 0]]
    return pairs

def decode_upsample(source, k, H, W, f, align_corners):  # [5.1] patch k, enlarged bilinearly
    h, w = -(-H // f), -(-W // f)
    padded = np.pad(source, ((0, 0), (0, f * h - H), (0, f * w - W)), constant_values=0.5)
    x = padded[:, k // f * h :, k % f * w :][:, :h, :w]
    for n, side in (h, H), (w, W):  # along the middle axis, which then changes place with the last
        i = np.arange(side)
        at = i * (n - 1) / max(1, side - 1) if align_corners else np.maximum(0, (i + 0.5) * n / side - 0.5)
        j, t = np.int64(at), np.float32(at % 1)[:, None]
        x = ((1 - t) * x[:, j] + t * x[:, np.minimum(j + 1, n - 1)]).swapaxes(1, 2)
    return x

def decode_kfs(x, k, H, W, bank, z, kernel):  # [5.1] transposed convolutions, the centre, the sigmoid
    padding = {2: 0, 4: 1}[kernel]
    for i in range(len(z) - 1):
        weight, bias = np.float32(bank[f"layers.{i}.weight"][k]), np.float32(bank[f"layers.{i}.bias"][k])
        h, w = x.shape[1:]
        y = np.zeros((z[i + 1], 2 * h + 2 * padding, 2 * w + 2 * padding), np.float32)
        for a, b in np.ndindex(kernel, kernel):  # pixel (i, j) adds to (2i + a, 2j + b)
            y[:, a : a + 2 * h : 2, b : b + 2 * w : 2] += np.tensordot(weight[:, :, a, b], x, (0, 0))
        x = y[:, padding : padding + 2 * h, padding : padding + 2 * w] + bias[:, None, None]
    return 1 / (1 + np.exp(-x[:, (x.shape[1] - H) // 2 :, (x.shape[2] - W) // 2 :][:, :H, :W]))

def decode(card, tensors, part, source, k):  # [4.1, 5.1] the image of a pair, [C, H, W] in the pack's space
    bank = {role: tensors[name] for role, name in part["tensors"].items()}
    config, (C, H, W) = part.get("config", {}), card["shape"]
    x = np.float32(bank["sources"][source])
    if part["kind"] == "images":
        return x.reshape(C, H, W)
    if part["kind"] == "upsample":
        return decode_upsample(x.reshape(C, H, W), k, H, W, config["factor"], config.get("align_corners", False))
    z, scale = [*config["channels"], C], 2 ** len(config["channels"])
    image = decode_kfs(x.reshape(z[0], -(-H // scale), -(-W // scale)), k, H, W, bank, z, config.get("kernel", 2))
    space = {"mean": [0] * C, "std": [1] * C} | card.get("space", {})
    return np.float32((image - np.reshape(space["mean"], (C, 1, 1))) / np.reshape(space["std"], (C, 1, 1)))

def read_pack(data):  # [1] the card, the tensors, the pairs and the digest
    frame, plain, digest, tail = read_header(data)
    manifest = read_manifest(frame, plain, tail)
    card, space = manifest["card"], manifest["card"].get("space", {"kind": "raw"})["kind"]
    require(space in ("raw", "normalized"), f"unknown space: {space!r:.80}")
    datasets = {name: read_dataset(dataset, tail) for name, dataset in manifest["datasets"].items()}
    tensors = {}
    for name, tensor in sorted(manifest["tensors"].items(), key=lambda item: len(item[1].get("encodings", []))):
        tensors[name] = read_tensor(tensor, datasets, tensors)  # those without encodings first: others need them
    return card, tensors, locate(card, manifest["parts"], tensors), digest

if __name__ == "__main__":
    sys.tracebacklimit = 0  # errors in one line
    card, tensors, pairs, digest = read_pack(Path(sys.argv[1]).read_bytes())
    images = np.array([decode(card, tensors, *pair) for pair in pairs[:10]])
    print(f"{card['title']!r}: {len(pairs)} pairs of {' and '.join({part['kind'] for part, *_ in pairs})}")
    print(f"{digest}, images {list(images.shape)} from {images.min():.3f} to {images.max():.3f}")

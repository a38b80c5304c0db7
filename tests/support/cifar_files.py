"""CIFAR's files in the Python version, as the originals are: protocol 2 of Python 2, where text is bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = tuple(f"fine_{n}" for n in range(100))

Dump = Callable[[dict], bytes]


class Python2:
    """What ``cPickle.dumps(value, 2)`` of Python 2 wrote, instruction by instruction."""

    def __init__(self) -> None:
        self.memo = 0

    def put(self) -> bytes:
        self.memo += 1
        return b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo)

    def value(self, value: object) -> bytes:
        if isinstance(value, bytes):
            short = len(value) < 256
            return (b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value))) + value + self.put()
        if isinstance(value, str):
            return self.value(value.encode())
        if isinstance(value, int):
            return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)
        if isinstance(value, list):
            return b"]" + self.put() + b"(" + b"".join(map(self.value, value)) + b"e"
        if isinstance(value, dict):
            items = b"".join(self.value(part) for pair in value.items() for part in pair)
            return b"}" + self.put() + b"(" + items + b"u"
        assert isinstance(value, np.ndarray)
        return self.array(value)

    def array(self, values: np.ndarray) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n" + self.put() + b"cnumpy\nndarray\n" + self.put()
        made += b"K\x00\x85U\x01b\x87R" + self.put() + b"(K\x01"
        made += b"".join(b"M" + struct.pack("<H", n) for n in values.shape) + bytes([0x84 + values.ndim])
        made += (
            b"cnumpy\ndtype\n" + self.put() + b"U\x02" + values.dtype.str[1:].encode() + b"K\x00K\x01\x87R" + self.put()
        )
        made += b"(K\x03U\x01" + values.dtype.str[:1].encode() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        return made + self.value(values.tobytes()) + b"tb"


def python2(held: dict) -> bytes:
    return b"\x80\x02" + Python2().value(held) + b"."


def write_python10(folder: Path, x: np.ndarray, y: np.ndarray, test: int = 1, dump: Dump = python2) -> None:
    """Write all images as the five batches, and the first ``test`` of them as the test batch."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {f"data_batch_{n + 1}": place for n, place in enumerate(np.array_split(np.arange(len(x)), 5))}
    for name, place in {**parts, "test_batch": np.arange(test)}.items():
        held = {
            "batch_label": f"batch {name}",
            "labels": y[place].tolist(),
            "data": x[place].reshape(len(place), -1),
            "filenames": [f"{n}.png" for n in place],
        }
        (folder / name).write_bytes(dump(held))
    names = {"num_cases_per_batch": 10000, "label_names": list(CIFAR10), "num_vis": 3072}
    (folder / "batches.meta").write_bytes(dump(names))
    (folder / "readme.html").write_text("<meta>")


def write_python100(folder: Path, x: np.ndarray, fine: np.ndarray, dump: Dump = python2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        held = {
            "filenames": [f"{n}.png" for n in range(len(x))],
            "batch_label": f"{name}ing batch 1 of 1",
            "fine_labels": fine.tolist(),
            "coarse_labels": [19] * len(x),
            "data": x.reshape(len(x), -1),
        }
        (folder / name).write_bytes(dump(held))
    names = {"fine_label_names": list(FINE), "coarse_label_names": [f"coarse_{n}" for n in range(20)]}
    (folder / "meta").write_bytes(dump(names))

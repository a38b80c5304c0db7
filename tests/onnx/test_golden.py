"""Every golden file, decoded three ways: by torch, by onnxruntime, and by the specification in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from dsetpack.onnx import OnnxPack
from dsetpack.onnx.exporter import model
from dsetpack.order import philox
from tests.support.onnx_packs import assert_close, assert_like_torch
from tests.support.paths import GOLDEN
from tests.support.spec_decoders import KINDS, RAW
from tests.support.spec_reader import SpecReader

FILES = sorted(GOLDEN.glob("v*/*.dpk"))
SEED, EPOCH = 3, 1


def by_the_specification(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all pairs."""
    reader = SpecReader(data)
    card = reader.manifest["card"]
    space, classes = card.get("space", {"kind": "raw"}), len(card["classes"])
    images, labels = [], []
    for part in reader.manifest["parts"]:
        kind, config, lists = part["kind"], part.get("config", {}), part.get("class_decoders")
        tensors = {role: reader.tensor(name).astype(np.float64) for role, name in part["tensors"].items()}
        own = tensors["labels"] if "labels" in tensors else np.arange(classes).repeat(card.get("per_class", 0))
        whole = {"images": 1, "generator": 1, "upsample": config.get("factor", 1) ** 2}
        bank = whole.get(kind) or config["decoders"] * config.get("factor", 1) ** 2
        for number, label in enumerate(own):
            for k in lists[int(label)] if lists else range(bank):
                if "sources" in tensors:
                    source = tensors["sources"][number]
                else:
                    source = philox.noise(SEED, EPOCH, [len(images)], config["noise"])[0].astype(np.float64)
                    source[:classes] = np.eye(classes)[label]
                image = KINDS[kind](config, tuple(card["shape"]), tensors, source, k)
                if kind in RAW and space["kind"] == "normalized":
                    image = (image - np.reshape(space["mean"], (-1, 1, 1))) / np.reshape(space["std"], (-1, 1, 1))
                images.append(image)
                labels.append(label)
    return np.array(images), np.array(labels)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_golden_files_three_ways(path):
    data = path.read_bytes()
    pack = OnnxPack(model(data), threads=1)
    found, labels = pack.decode(range(len(pack)), seed=SEED, epoch=EPOCH)
    images, expected = by_the_specification(data)
    assert_close(found, images.astype(np.float32))
    assert np.array_equal(labels, expected)
    beside = np.load(path.with_suffix(".npz"), allow_pickle=False)
    assert_close(found, beside["images"])
    assert np.array_equal(labels, beside["labels"])
    assert np.array_equal(pack.labels, beside["labels"])
    if np.isfinite(labels.astype(np.float64)).all():
        for space in ("pack", "raw"):
            assert_like_torch(data, space, batches=(1, 7))


def test_there_are_golden_files():
    assert len(FILES) > 20

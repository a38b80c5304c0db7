"""Exported packs next to the packs they come from, and models with changed metadata."""

from __future__ import annotations

import itertools
import json

import numpy as np
import onnx

import dsetpack
from dsetpack.onnx import OnnxPack, envelope
from dsetpack.onnx.exporter import model
from tests.support.onnx_packs import CASES, assert_close, pack_of

GENERATOR = CASES["generator 8"]


def both(data: bytes, space: str = "pack") -> tuple[OnnxPack, dsetpack.Pack]:
    return OnnxPack(model(data, space), threads=1), dsetpack.open(data)


def same_batches(ours, torchs, number=None):
    """Check that the next batches of both streams are equal and end together; return their number."""
    pairs = itertools.zip_longest(itertools.islice(ours, number), itertools.islice(torchs, number))
    count = 0
    for (x, y), (expected, labels) in pairs:
        assert_close(x, expected.numpy())
        assert y.dtype == labels.numpy().dtype
        assert np.array_equal(y, labels.numpy())
        count += 1
    return count


def rewritten(**changes):
    """A model with changed metadata; None removes an entry."""
    proto = onnx.load_from_string(model(pack_of("images", {}, (1, 2, 2), sources=3)))
    found = {p.key: p.value for p in proto.metadata_props if p.key != "dsetpack.sha256"}
    info = json.loads(found["dsetpack"])
    for key, value in changes.items():
        target = found if key in ("card", "dsetpack") else info
        name = {"card": "dsetpack.card"}.get(key, key)
        if value is None:
            del target[name]
        else:
            target[name] = value
    if "dsetpack" not in changes:
        found["dsetpack"] = json.dumps(info)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, found)
    return envelope.seal(proto.SerializeToString())

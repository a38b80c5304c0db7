"""``OnnxPack``: what it says of itself, its labels, its pairs, and decoding on CPU and GPU."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from dsetpack import formats
from dsetpack.formats.card import RawSpace
from dsetpack.formats.errors import DsetpackError
from dsetpack.onnx import OnnxPack
from dsetpack.onnx.exporter import model
from tests.support.onnx_models import GENERATOR, both
from tests.support.onnx_packs import CASES, HABA, KFS, NORMALIZED, assert_close, mixed, pack_of


def test_what_it_says_of_itself():
    data = pack_of(*KFS, space=NORMALIZED, title="five")
    ours, pack = both(data)
    assert len(ours) == len(pack) == 33
    assert ours.table == pack.table
    assert ours.card == pack.card
    assert ours.digest == pack.digest
    assert ours.content_digest == formats.Reader(data).manifest.content_digest
    assert ours.space == pack.card.space
    assert "five" in repr(ours)
    assert "11 × 3 = 33 images [3, 8, 8]" in repr(ours)
    raw, _ = both(data, "raw")
    assert raw.space == RawSpace()
    assert raw.card == pack.card


@pytest.mark.parametrize(
    "data", [pack_of("images", {}, (1, 2, 2), sources=700), pack_of(*GENERATOR), mixed(), pack_of(*HABA, soft=True)]
)
def test_labels_of_all_pairs(data):
    ours, pack = both(data)
    assert np.array_equal(ours.labels, pack.labels.numpy())
    assert ours.labels.dtype == pack.labels.numpy().dtype
    ours.labels[:] = 0  # a copy
    assert np.array_equal(ours.labels, pack.labels.numpy())


@pytest.mark.parametrize("pairs", [[33], [-1], [0.5], [[1, 2]], 3, ["a"]])
def test_no_such_pair(pairs):
    ours, _ = both(pack_of(*KFS))
    with pytest.raises(IndexError):
        ours.decode(pairs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_pairs_of_any_integers(dtype):
    ours, pack = both(pack_of(*KFS))
    assert_close(ours.decode(np.array([32, 1, 1], dtype))[0], pack.decode([32, 1, 1])[0].numpy())


@pytest.mark.parametrize("data", [pack_of(*KFS), pack_of(*HABA, soft=True), pack_of(*CASES["upsample 2"]), mixed()])
def test_no_pairs_at_all(data):
    ours, pack = both(data)
    (x, y), (expected, labels) = ours.decode([]), pack.decode([])
    assert x.shape == tuple(expected.shape)
    assert (y.shape, y.dtype) == (labels.numpy().shape, labels.numpy().dtype)


def test_threads_decode_at_the_same_time():
    ours, pack = both(mixed())
    batches = [np.random.default_rng(n).integers(0, len(pack), 20) for n in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pairs: ours.decode(pairs)[0], batches))
    for pairs, x in zip(batches, found, strict=True):
        assert_close(x, pack.decode(pairs)[0].numpy())


@pytest.mark.parametrize("data", [pack_of(*KFS), mixed()])
def test_values_bound_where_they_are_made(data):
    """On a GPU the values would stay in its memory; here it is the CPU's."""
    ours, _ = both(data)
    pairs = np.arange(len(ours))
    image, label = ours.decode_on_device(pairs, seed=1)
    x, y = ours.decode(pairs, seed=1)
    assert image.device_name() == "cpu"
    assert np.array_equal(image.numpy(), x)
    assert np.array_equal(label.numpy(), y)


def test_decoding_on_a_gpu_goes_through_binding(monkeypatch):
    ours, _ = both(pack_of(*KFS))
    x, y = ours.decode([1, 2])
    bound = []
    original = OnnxPack._bound

    def decode(self, inputs):
        bound.append(self.device)
        self.device = "cpu"
        return original(self, inputs)

    monkeypatch.setattr(OnnxPack, "_bound", decode)
    ours.device = "cuda"
    again = ours.decode([1, 2])
    assert bound == ["cuda"]
    assert np.array_equal(again[0], x)
    assert np.array_equal(again[1], y)


@pytest.mark.gpu
@pytest.mark.skipif("CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="no onnxruntime-gpu")
@pytest.mark.parametrize("data", [pack_of(*case, encoding="int8") for case in CASES.values()], ids=list(CASES))
def test_cuda_like_the_cpu(data):
    file = model(data)
    gpu, cpu = OnnxPack(file), OnnxPack(file, ["CPUExecutionProvider"])
    assert gpu.device == "cuda"
    for pairs in (np.arange(len(cpu)), [0], [3, 3, 1]):
        x, y = gpu.decode(pairs)
        expected, labels = cpu.decode(pairs)
        assert_close(x, expected)
        assert np.array_equal(y, labels)


def test_providers():
    data = model(pack_of(*KFS))
    assert OnnxPack(data, ["CPUExecutionProvider"]).providers == ["CPUExecutionProvider"]
    assert OnnxPack(data, [("CPUExecutionProvider", {})]).providers == ["CPUExecutionProvider"]
    with pytest.raises(DsetpackError, match=r"no NoExecutionProvider.*CPUExecutionProvider.*onnx-gpu"):
        OnnxPack(data, ["NoExecutionProvider"])


def test_without_onnxruntime_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DsetpackError, match=r"package onnxruntime,.*'dsetpack\[onnx\]'"):
        OnnxPack(b"")

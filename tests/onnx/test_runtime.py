"""``OnnxPack``: the order, noise and labels of ``Pack.stream`` without torch, and files that are not whole."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import dsetpack
from dsetpack import FormatError, LimitError, VersionError, formats
from dsetpack.formats.card import RawSpace
from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.onnx import OnnxPack, envelope, export, external
from dsetpack.onnx.exporter import model
from tests.support.onnx_packs import CASES, HABA, KFS, NORMALIZED, assert_close, mixed, pack_of

GENERATOR = CASES["generator 8"]


def both(data: bytes, space: str = "pack") -> tuple[OnnxPack, dsetpack.Pack]:
    return OnnxPack(model(data, space), threads=1), dsetpack.open(data)


def same_batches(ours, torchs, number=None):
    """The next batches of both streams are equal, and both end together."""
    pairs = itertools.zip_longest(itertools.islice(ours, number), itertools.islice(torchs, number))
    count = 0
    for (x, y), (expected, labels) in pairs:
        assert_close(x, expected.numpy())
        assert y.dtype == labels.numpy().dtype
        assert np.array_equal(y, labels.numpy())
        count += 1
    return count


@pytest.mark.parametrize("rule", [None, "paired", "product"])
@pytest.mark.parametrize(
    "data",
    [pack_of(*KFS, epoch_rule="paired"), pack_of(*GENERATOR), mixed(), pack_of(*HABA, soft=True)],
    ids=["kfs", "generator", "mixed", "soft"],
)
def test_streams_are_those_of_torch(data, rule):
    torch.set_num_threads(1)
    ours, pack = both(data)
    streams = ours.stream(5, seed=9, rule=rule), pack.stream(5, seed=9, rule=rule)
    assert len(streams[0]) == len(streams[1])
    for _ in range(3):  # epochs advance
        assert same_batches(*streams) == len(streams[0])
    for stream in streams:
        stream.set_epoch(7)
    assert same_batches(*streams) == len(streams[0])
    assert streams[0].epoch == streams[1].epoch == 8


def test_seeds_and_epochs_change_order_and_noise():
    ours, pack = both(pack_of(*GENERATOR))
    (first, _), *_ = ours.stream(12, seed=1)
    (other, _), *_ = ours.stream(12, seed=2)
    assert not np.array_equal(first, other)
    for seed, epoch in ((0, 0), (0, 1), (2**63, 5)):
        assert_close(
            ours.decode([3, 3, 0], seed=seed, epoch=epoch)[0], pack.decode([3, 3, 0], seed=seed, epoch=epoch)[0].numpy()
        )
    assert not np.array_equal(ours.decode([3], epoch=0)[0], ours.decode([3], epoch=1)[0])


@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_an_epoch(drop_last):
    ours, pack = both(pack_of(*KFS))
    for rank in range(3):
        options = {"seed": 4, "rank": rank, "world": 3, "drop_last": drop_last}
        assert same_batches(ours.stream(4, **options), pack.stream(4, **options)) > 0


def test_states_go_from_torch_to_onnx_and_back():
    ours, pack = both(pack_of(*KFS))
    there, here = pack.stream(4, seed=2), ours.stream(4, seed=2)
    list(there), list(here)
    same_batches(here, there, 3)
    assert here.state_dict() == there.state_dict()
    onward, back = ours.stream(6, seed=2), pack.stream(6, seed=2)
    onward.load_state_dict(there.state_dict())
    back.load_state_dict(here.state_dict())
    assert onward.epoch == back.epoch == 1
    assert same_batches(onward, back) == 4
    with pytest.raises(FormatError, match="seed"):
        ours.stream(4, seed=3).load_state_dict(here.state_dict())
    assert here.state_dict(consumed=1)["position"] == 4


def test_a_transform_gets_numpy():
    ours, _ = both(pack_of(*KFS))
    (x, _), *_ = ours.stream(4, transform=lambda x: x[:, :1] * 2)
    (expected, _), *_ = ours.stream(4)
    assert np.array_equal(x, expected[:, :1] * 2)


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
    """What a GPU's memory would hold; here it is the CPU's."""
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


CODE = """
import hashlib, json, sys
for name in ("torch", "onnx", "onnxscript", "h5py"):
    sys.modules[name] = None  # importing it raises
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("torch can be imported")
from dsetpack.onnx import OnnxPack
pack = OnnxPack(sys.argv[1])
digest, order = hashlib.sha256(), []
stream = pack.stream(batch_size=7, seed=11)
for _ in range(2):
    for x, y in stream:
        digest.update(x.tobytes() + y.tobytes())
        order += y.tolist()
print(json.dumps([len(pack), pack.card.title, digest.hexdigest(), order, pack.labels.tolist()]))
"""


def test_streaming_without_torch(tmp_path):
    data = mixed("int8", title="no torch")
    export(data, tmp_path / "x.onnx")
    arguments = [sys.executable, "-c", CODE, str(tmp_path / "x.onnx")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    length, title, digest, order, labels = json.loads(done.stdout)
    ours, pack = both(data)
    assert (length, title, labels) == (len(pack), "no torch", pack.labels.tolist())
    expected, stream, torchs = hashlib.sha256(), ours.stream(7, seed=11), pack.stream(7, seed=11)
    assert order == [label for _ in range(2) for _, y in torchs for label in y.tolist()]
    for x, y in [batch for _ in range(2) for batch in stream]:
        expected.update(x.tobytes() + y.tobytes())
    assert digest == expected.hexdigest()


def test_without_onnxruntime_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DsetpackError, match=r"package onnxruntime,.*'dsetpack\[onnx\]'"):
        OnnxPack(b"")


def test_files_cut_short_anywhere_are_refused(tmp_path):
    data = model(pack_of("images", {}, (1, 2, 2), sources=3))
    for length in range(len(data)):
        with pytest.raises(IntegrityError, match="cut short|damaged"):
            OnnxPack(data[:length])
    (tmp_path / "x.onnx").write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"x\.onnx"):
        OnnxPack(tmp_path / "x.onnx")
    with pytest.raises(IntegrityError):
        OnnxPack(data + b"\0")


def test_files_with_a_changed_byte_are_refused():
    data = model(pack_of("images", {}, (1, 2, 2), sources=3))
    for at in range(len(data)):
        with pytest.raises(IntegrityError):
            OnnxPack(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])


def test_other_tools_read_the_file_and_verify_false_reads_theirs():
    ours, pack = both(pack_of(*KFS))
    proto = onnx.load_from_string(model(pack_of(*KFS)))
    onnx.checker.check_model(proto, full_check=True)
    proto.doc_string = "rewritten"
    written = proto.SerializeToString()
    with pytest.raises(IntegrityError, match="verify=False"):
        OnnxPack(written)
    again = OnnxPack(written, threads=1, verify=False)
    assert np.array_equal(again.decode([1, 5])[0], ours.decode([1, 5])[0])
    assert len(again) == len(pack)


def rewritten(**changes):
    """A model whose metadata are changed; None takes an entry away."""
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


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"card": None}, FormatError, "not exported by dsetpack"),
        ({"dsetpack": None}, FormatError, "not exported by dsetpack"),
        ({"card": "{"}, FormatError, "metadata"),
        ({"dsetpack": "[]"}, FormatError, "metadata"),
        ({"layout": 2, "new": 1}, VersionError, "layout 2.*update"),
        ({"new": 1}, FormatError, "new"),
        ({"digest": "x"}, FormatError, "digest"),
        ({"parts": []}, FormatError, "inputs"),
        ({"parts": [{"sources": 3, "slots": 0}]}, FormatError, "slots"),
        ({"parts": [{"sources": 2**62, "slots": 2**62}]}, FormatError, "pairs"),
        ({"parts": [{"sources": 2**40, "slots": 1}]}, LimitError, "1099511627776 pairs"),
        ({"noise": 4}, FormatError, "generators"),
        ({"parts": [{"sources": 3, "slots": 1, "drawn": True}]}, FormatError, "generators"),
        ({"card": '{"title":"x","classes":["a"],"shape":[2,2,2]}'}, FormatError, r"\[2, 2, 2\]"),
        ({"space": "grey"}, FormatError, "space"),
        ({"decoder_only": True}, FormatError, "decoder alone"),
    ],
)  # fmt: skip
def test_metadata_that_do_not_fit(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        OnnxPack(rewritten(**changes))
    assert re.match("<bytes>|more than", str(caught.value))


def test_every_way_to_a_tensor_is_known():
    """Against the messages of the package ``onnx``."""
    messages = onnx.ModelProto.DESCRIPTOR.file.message_types_by_name
    lead, before = {"TensorProto": {}}, None
    while lead != before:
        before = lead
        lead = {"TensorProto": {}} | {
            name: {
                f.number: f.message_type.name
                for f in message.fields
                if f.message_type and f.message_type.name in before
            }
            for name, message in messages.items()
            if name != "TensorProto" and any(f.message_type and f.message_type.name in before for f in message.fields)
        }
    del lead["TensorProto"]
    assert lead == external.INSIDE
    fields = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert fields["external_data"].number == external.EXTERNAL_DATA
    assert fields["data_location"].number == external.DATA_LOCATION


@pytest.mark.parametrize("nested", [False, True])
def test_no_other_file_is_opened(nested, tmp_path, monkeypatch):
    """A model that names a file of this machine would show it as images."""
    monkeypatch.chdir(tmp_path)
    proto = onnx.load_from_string(model(pack_of("images", {}, (1, 2, 2), sources=3)))
    tensor = next(t for t in proto.graph.initializer if t.name == "/sources")
    Path("secret").write_bytes(tensor.raw_data)
    del proto.metadata_props[:]
    onnx.external_data_helper.set_external_data(tensor, "secret")
    tensor.ClearField("raw_data")
    if nested:
        inner = onnx.GraphProto(initializer=[tensor])
        branch = onnx.helper.make_attribute("then_branch", inner)
        proto.functions.append(onnx.FunctionProto(name="f", node=[onnx.NodeProto(op_type="If", attribute=[branch])]))
        proto.graph.initializer.remove(tensor)
    with pytest.raises(FormatError, match="<bytes>: a tensor in another file"):
        OnnxPack(proto.SerializeToString(), verify=False)


def test_models_that_are_no_packs(tmp_path):
    export(pack_of(*KFS), tmp_path / "x.onnx", decoder_only=True)
    with pytest.raises(FormatError, match=r"x\.onnx: a decoder alone"):
        OnnxPack(tmp_path / "x.onnx")
    with pytest.raises(FormatError, match=r"<bytes>: onnxruntime cannot load it"):
        OnnxPack(onnx.ModelProto(ir_version=8).SerializeToString(), verify=False)
    for data in (b"not a model", b"\xff" * 100, b"\x3a\x7f", b"\x39\0", b"\xf2\x80\x80\x80\x10\0", b"\x3a"):
        with pytest.raises(FormatError, match=r"<bytes>: not an ONNX model"):
            OnnxPack(envelope.seal(data), verify=False)
    with pytest.raises(FileNotFoundError):
        OnnxPack(tmp_path / "none.onnx")
    with pytest.raises(IntegrityError, match="no dsetpack checksum"):
        OnnxPack(pack_of(*KFS))

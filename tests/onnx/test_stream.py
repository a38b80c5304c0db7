"""``OnnxPack.stream``: the order, noise and labels of ``Pack.stream``, with and without torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from dsetpack import FormatError
from dsetpack.onnx import export
from tests.support.onnx_models import GENERATOR, both, same_batches
from tests.support.onnx_packs import HABA, KFS, assert_close, mixed, pack_of


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

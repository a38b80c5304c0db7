"""What loaders do with a source of pairs: they read it first, and decode it without gradients."""

import pytest
import torch

import dsetpack
from dsetpack.formats.errors import DsetpackError
from dsetpack.loading.source import decode, loaded
from tests.support.fake_pack import FakePack
from tests.support.paths import KFS


def test_no_gpu_decoding_in_workers(monkeypatch):
    pack = FakePack(device="meta")
    decode(pack, [0], 0, 0)
    monkeypatch.setattr("dsetpack.loading.source.get_worker_info", lambda: "a worker")
    decode(FakePack(), [0], 0, 0)
    with pytest.raises(DsetpackError, match=r"pack is on meta.*pack\.to\('cpu'\)"):
        decode(pack, [0], 0, 0)


def test_decoding_for_reading_takes_no_gradients():
    pack = dsetpack.open(KFS)
    pack.parts[0].decoder.requires_grad_(True)
    assert pack.decode([0])[0].requires_grad
    assert not decode(pack, [0], 0, 0)[0].requires_grad


def test_a_pack_is_read_before_workers_fork():
    pack = dsetpack.open(KFS)
    reader = pack._contents._source
    assert loaded(pack) is pack
    assert pack._contents._source is not reader  # the parts are in memory now, and the file is closed
    assert torch.equal(pack.decode([5])[0], dsetpack.open(KFS).decode([5])[0])

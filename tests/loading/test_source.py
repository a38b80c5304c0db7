"""What loaders do with a source of pairs: they read it first, and decode it without gradients."""

import pytest
import torch

import dsetpack
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.loading.dataset import PackDataset
from dsetpack.loading.loader import PackLoader
from dsetpack.loading.source import decode, loaded
from dsetpack.loading.stream import PackStream
from dsetpack.replay import MixedLoader
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


@pytest.mark.parametrize("make", [PackDataset, lambda x: PackLoader(x, 2), lambda x: PackStream(x, 2)])
@pytest.mark.parametrize("other", [[1, 2], "demo.dpk", None])
def test_what_is_no_pack_is_refused(make, other):
    name = type(other).__name__
    with pytest.raises(FormatError, match=rf"found a {name} where a pack was expected.* give it pack.loader"):
        make(other)


def test_a_mixed_loader_takes_packs_and_loaders():
    with pytest.raises(FormatError, match="found a list where a pack was expected"):
        MixedLoader([], [1])
    with pytest.raises(FormatError, match="new is a int; a loader of batches"):
        MixedLoader(3, FakePack())


def test_our_loader_says_what_to_do_without_a_dataset():
    loader = dsetpack.open(KFS).loader(8)
    assert not hasattr(loader, "dataset")
    with pytest.raises(AttributeError, match="load_state_dict; .*DataLoader"):
        _ = loader.dataset

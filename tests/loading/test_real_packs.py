"""Loaders over real packs: every way of reading gives the same batches."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import dsetpack
from dsetpack.formats.errors import DsetpackError, FormatError
from tests.support import slow_order

multiprocessing.set_forkserver_preload(["torch", "numpy"])
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 3, 5, 6), dtype=np.uint8)
LABELS = np.arange(30) % 4


@pytest.fixture
def pack():
    return dsetpack.Pack.from_arrays(IMAGES, LABELS)


@pytest.fixture
def opened(pack, tmp_path):
    pack.save(tmp_path / "images.dpk")
    return dsetpack.open(tmp_path / "images.dpk")


def check(batches, epoch, batch_size=8):
    """The batches hold the images and labels of the epoch's order."""
    expected = slow_order.permutation(30, 3, epoch)
    wanted = [expected[k : k + batch_size] for k in range(0, 30, batch_size)]
    got = list(batches)
    assert len(got) == len(wanted)
    for (x, y), pairs in zip(got, wanted, strict=True):
        assert torch.equal(x.cpu(), torch.from_numpy(IMAGES[pairs]).float() * np.float32(1 / 255).item())
        assert y.dtype == torch.int64
        assert y.tolist() == LABELS[pairs].tolist()
        assert not x.requires_grad


def test_every_reader_gives_the_same_epochs(opened):
    sampler = opened.sampler(8, seed=3)
    stock = DataLoader(opened.dataset(), batch_sampler=sampler)
    readers = [stock, opened.loader(8, seed=3), DataLoader(opened.stream(8, seed=3), batch_size=None)]
    readers.append(DataLoader(opened, batch_sampler=opened.sampler(8, seed=3)))
    if "fork" in multiprocessing.get_all_start_methods():
        workers = {"num_workers": 2, "multiprocessing_context": "fork"}
        readers.append(DataLoader(opened.dataset(), batch_sampler=opened.sampler(8, seed=3), **workers))
        readers.append(DataLoader(opened, batch_sampler=opened.sampler(8, seed=3), **workers))
        readers.append(opened.loader(8, seed=3, **workers))
        readers.append(DataLoader(opened.stream(8, seed=3), batch_size=None, **workers))
    for reader in readers:
        for epoch in range(2):
            check(reader, epoch)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_opened_packs_in_fresh_processes(opened, context):
    stream = DataLoader(opened.stream(8, seed=3), batch_size=None, num_workers=1, multiprocessing_context=context)
    check(stream, 0)
    check(
        DataLoader(opened, batch_sampler=opened.sampler(8, seed=3), num_workers=1, multiprocessing_context=context), 0
    )


def test_readers_pickle_without_their_file(opened, tmp_path):
    readers = [opened.dataset(), opened.loader(8, seed=3), opened.stream(8, seed=3), opened.sampler(8, seed=3)]
    pickles = [pickle.dumps(reader) for reader in readers]
    (tmp_path / "images.dpk").unlink()
    dataset, loader, stream, sampler = map(pickle.loads, pickles)
    assert torch.equal(dataset[7][0], readers[0][7][0])
    check(loader, 0)
    check(stream, 0)
    assert list(sampler) == list(readers[3])


def test_a_dataset_reads_the_file_before_any_fork(opened, tmp_path):
    dataset, stream = opened.dataset(), opened.stream(8)
    (tmp_path / "images.dpk").unlink()
    assert dataset[0][0].shape == next(iter(stream))[0].shape[1:] == (3, 5, 6)


def test_soft_labels(tmp_path):
    soft = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    pack = dsetpack.Pack.from_arrays(IMAGES, soft)
    for x, y in (*pack.loader(30), *DataLoader(pack.dataset(), 30, shuffle=True), *DataLoader(pack, 30)):
        assert (y.shape, y.dtype) == ((30, 4), torch.float32)
        rows = [int((pack.parts[0].sources == image).flatten(1).all(1).nonzero()) for image in x]
        assert torch.equal(y, torch.from_numpy(soft)[rows])


def test_materialized_packs(pack):
    check(pack.materialize().loader(8, seed=3), 0)


def test_a_state_fits_every_reader(pack):
    loader = pack.loader(8, seed=3)
    next(iter(loader))
    rest = slow_order.permutation(30, 3, 0)[8:]
    for reader in (pack.loader(5, seed=3), pack.stream(5, seed=3), pack.sampler(5, seed=3)):
        reader.load_state_dict(loader.state_dict())
        batches = list(reader)
        if isinstance(batches[0], list):
            assert slow_order.flat(batches) == rest
        else:
            assert torch.cat([y for _, y in batches]).tolist() == LABELS[rest].tolist()
    other = dsetpack.Pack.from_arrays(IMAGES[:20], LABELS[:20])
    with pytest.raises(FormatError, match="pairs 30, here it is 20"):
        other.loader(8, seed=3).load_state_dict(loader.state_dict())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(pack):
    check(pack.loader(8, seed=3, device="cuda"), 0)
    assert pack.device.type == "cpu"
    check(pack.loader(8, seed=3, device="cuda", num_workers=1, multiprocessing_context="spawn"), 0)
    on_gpu = pack.to("cuda")
    check(on_gpu.loader(8, seed=3), 0)
    with pytest.raises(FormatError, match="num_workers=0"):
        on_gpu.loader(8, num_workers=1)
    with pytest.raises(DsetpackError, match="worker"):
        list(DataLoader(on_gpu, batch_size=8, num_workers=1, multiprocessing_context="fork"))

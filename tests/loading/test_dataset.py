"""``PackDataset`` under stock loaders: the drop-in contract."""

import copy
import io
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, Subset, default_collate
from torchdata.stateful_dataloader import StatefulDataLoader

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.loading.dataset import PackDataset
from tests.support.fake_pack import FakePack, epochs_of, pairs_of
from tests.support.paths import KFS
from tests.support.slow_order import flat

CONTEXTS = ["fork", pytest.param("spawn", marks=pytest.mark.slow), pytest.param("forkserver", marks=pytest.mark.slow)]


def transform(image):
    assert image.shape == (1, 2, 2)
    return image + 100


def as_list(samples):
    return [y for _, y in samples]


class Seeded:
    """A worker_init_fn that leaves a trace in the worker's own copy of the dataset."""

    def __call__(self, worker):
        torch.utils.data.get_worker_info().dataset.transform = lambda image: image + 1000 * (worker + 1)


def test_items():
    dataset = PackDataset(FakePack())
    assert len(dataset) == 21
    x, y = dataset[4]
    assert (x.shape, x.dtype, y, type(y)) == ((1, 2, 2), torch.float32, 1, int)
    assert not x.requires_grad
    for index in (-17, np.int64(4), torch.tensor(4)):
        assert torch.equal(dataset[index][0], x)
    for index in (21, -22):
        with pytest.raises(IndexError, match="21 pairs"):
            dataset[index]
    with pytest.raises(TypeError):
        dataset["0"]
    assert len(list(dataset)) == 21  # the old sequence protocol ends with an IndexError


def test_a_batch_is_decoded_by_one_call():
    pack = FakePack()
    samples = PackDataset(pack, transform).__getitems__([3, -1, 3])
    assert pack.calls == 1
    assert [(x[0, 0, 0].item(), y) for x, y in samples] == [(103, 0), (120, 2), (103, 0)]
    x, y = default_collate(samples)
    assert (x.shape, y.dtype, y.tolist()) == ((3, 1, 2, 2), torch.int64, [0, 2, 0])


def test_soft_labels_are_rows():
    dataset = PackDataset(FakePack(soft=True))
    assert dataset[5][1].tolist() == [0, 0, 1]
    _, y = next(iter(DataLoader(dataset, batch_size=4)))
    assert (y.shape, y.dtype) == ((4, 3), torch.float32)
    assert torch.equal(dataset.targets, dataset.pack.labels)


def test_names_that_users_of_torchvision_know():
    dataset = PackDataset(FakePack())
    assert dataset.targets == [i % 3 for i in range(21)]
    assert dataset.classes == ["a", "b", "c"]


def test_noise_follows_seed_and_epoch():
    dataset = PackDataset(FakePack(), seed=9)
    assert dataset[0][0].flatten().tolist() == [0, 9, 0, 0]
    dataset.set_epoch(3)
    assert dataset[0][0].flatten().tolist() == [0, 9, 3, 0]
    for duplicate in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert duplicate.epoch == 3
    with pytest.raises(FormatError, match="epoch"):
        dataset.set_epoch(-1)
    with pytest.raises(FormatError, match="seed"):
        PackDataset(FakePack(), seed=-1)


def test_stock_wrappers():
    dataset = PackDataset(FakePack())
    calls = dataset.pack.calls
    got = [pairs_of(x) for x, _ in DataLoader(Subset(dataset, [5, 6, 7, 8]), batch_size=2)]
    assert got == [[5, 6], [7, 8]]
    assert dataset.pack.calls == calls + 2  # Subset passes batches on
    both = ConcatDataset([dataset, dataset])
    assert pairs_of(next(iter(DataLoader(both, batch_size=42)))[0]) == [*range(21), *range(21)]


def test_stock_loader_without_workers():
    dataset = PackDataset(FakePack(), transform)
    loader = DataLoader(dataset, batch_size=4, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(1))
    seen = [pairs_of(x - 100) for x, _ in loader]
    assert [len(batch) for batch in seen] == [4] * 5 == [4] * len(loader)
    assert len(set(flat(seen))) == 20
    lists = list(DataLoader(dataset, batch_size=5, collate_fn=as_list))
    assert lists == [[i % 3 for i in range(k, min(k + 5, 21))] for k in range(0, 21, 5)]
    x, y = next(iter(DataLoader(dataset, batch_size=None)))
    assert (x.shape, y) == ((1, 2, 2), 0)


@pytest.mark.parametrize("context", CONTEXTS)
def test_stock_loader_with_workers(context):
    dataset = PackDataset(FakePack(), transform)
    dataset.set_epoch(0)
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context=context, persistent_workers=True, timeout=60
    )
    for epoch in range(2):
        dataset.set_epoch(epoch)  # reaches workers that live on
        batches = list(loader)
        assert flat(pairs_of(x - 100) for x, _ in batches) == list(range(21))
        assert torch.cat([y for _, y in batches]).tolist() == dataset.targets
        assert {e for x, _ in batches for e in epochs_of(x - 100)} == {epoch}


def test_worker_options_under_fork():
    dataset = PackDataset(FakePack())
    options = {"batch_size": 4, "num_workers": 2, "multiprocessing_context": "fork"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")  # no accelerator here
        pinned = list(DataLoader(dataset, pin_memory=True, drop_last=True, prefetch_factor=4, **options))
    assert [pairs_of(x) for x, _ in pinned] == [list(range(k, k + 4)) for k in range(0, 20, 4)]
    traced = [int(x.max()) // 1000 for x, _ in DataLoader(dataset, worker_init_fn=Seeded(), **options)]
    assert traced == [1, 2, 1, 2, 1, 2]
    lists = DataLoader(dataset, collate_fn=as_list, **options)
    assert flat(lists) == dataset.targets
    with pytest.raises(IndexError, match="21 pairs"):
        list(DataLoader(dataset, sampler=[0, 99], **options))


@pytest.mark.slow
def test_distributed_sampler_with_set_epoch():
    dataset = PackDataset(FakePack(((20, 1),)))
    seen = []
    for epoch in range(2):
        ranks = []
        for rank in range(2):
            sampler = DistributedSampler(dataset, num_replicas=2, rank=rank, shuffle=True, seed=3)
            sampler.set_epoch(epoch)
            ranks.append(flat(pairs_of(x) for x, _ in DataLoader(dataset, batch_size=3, sampler=sampler)))
        assert sorted(ranks[0] + ranks[1]) == list(range(20))
        seen.append(ranks)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_stateful_loader_resumes(workers):
    def loader():
        sampler = torch.utils.data.RandomSampler(dataset, generator=torch.Generator().manual_seed(5))
        return StatefulDataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers)

    dataset = PackDataset(FakePack())
    whole = [pairs_of(x) for x, _ in loader()]
    first = loader()
    run = iter(first)
    begun = [pairs_of(next(run)[0]) for _ in range(2)]
    state, ended = first.state_dict(), weakref.ref(run)
    del run, first
    assert ended() is None  # its workers have left: later forks would inherit their connections
    second = loader()
    second.load_state_dict(state)
    assert begun + [pairs_of(x) for x, _ in second] == whole


def test_one_item_of_a_batch_is_saved_alone():
    batch = dsetpack.open(KFS).__getitems__(list(range(64)))
    file = io.BytesIO()
    torch.save(batch[0][0], file)
    assert len(file.getvalue()) < 10_000

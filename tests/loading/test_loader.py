"""``PackLoader``: what ``pack.loader()`` returns."""

import pickle
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.loading.dataset import PackDataset
from dsetpack.loading.loader import PackLoader
from dsetpack.order.sampler import PairSampler
from tests.support import slow_order
from tests.support.fake_pack import FakePack, epochs_of, pairs_of

N = 50


def make(workers=0, batch_size=4, **options):
    if workers:
        options.setdefault("multiprocessing_context", "fork")
    return PackLoader(FakePack(((N, 1),)), batch_size, num_workers=workers, **options)


def read(batches):
    return [pair for x, _ in batches for pair in pairs_of(x)]


def order(epoch, seed=0):
    return slow_order.permutation(N, seed, epoch)


def take(loader, count):
    return read(islice(loader, count)), loader.state_dict()


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs(workers):
    loader = make(workers, seed=6, transform=lambda x: x + 1)
    assert len(loader) == 13
    for epoch in range(2):
        assert loader.epoch == epoch
        batches = [(x - 1, y) for x, y in loader]
        assert read(batches) == order(epoch, seed=6)
        assert {e for x, _ in batches for e in epochs_of(x)} == {epoch}
    x, y = batches[0]
    assert (x.shape, x.dtype, y.dtype, x.requires_grad) == ((4, 1, 2, 2), torch.float32, torch.int64, False)
    assert y.tolist() == [p % 3 for p in pairs_of(x)]
    next(iter(loader))  # left early
    loader.set_epoch(0)
    assert read([(x - 1, y) for x, y in loader]) == order(0, seed=6)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_other_start_methods(context):
    loader = make(1, multiprocessing_context=context)
    assert [read(loader), read(loader)] == [order(0), order(1)]


def test_workers_zero_three_one_resume():
    first, state = take(make(0), 3)
    assert (state["epoch"], state["position"]) == (0, 12)
    second = make(3)
    second.load_state_dict(state)
    middle, state = take(second, 5)  # the workers have read ahead; the state counts what came out
    assert (state["epoch"], state["position"]) == (0, 32)
    third = make(1)
    third.load_state_dict(state)
    assert first + middle + read(third) == order(0)
    assert read(third) == order(1)
    assert third.state_dict()["epoch"] == 2


def test_world_one_two_four_resume():
    done, state = take(make(batch_size=6), 2)
    for world in (2, 4):
        ranks = [make(batch_size=3, rank=r, world=world) for r in range(world)]
        for loader in ranks:
            loader.load_state_dict(state)
        runs, steps = [iter(loader) for loader in ranks], 3 if world == 2 else 99
        for _ in range(steps):
            done += read([batch for run in runs if (batch := next(run, None))])
        states = [loader.state_dict() for loader in ranks]
        assert states == states[:1] * world
        state = states[0]
    assert done == order(0)
    assert (state["epoch"], state["position"]) == (1, 0)


def test_states_around_the_end_of_an_epoch():
    for workers in (0, 2):
        loader = make(workers, batch_size=25)
        positions = [(s["epoch"], s["position"]) for s in (loader.state_dict() for _ in loader)]
        positions.append((loader.epoch, loader.state_dict()["position"]))
        assert positions == [(0, 25), (0, 50), (1, 0)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_whose_transform_fails_is_not_received(workers):
    def transform(x):
        if pairs_of(x) == order(0)[4:8]:
            raise RuntimeError("boom")
        return x

    loader = make(workers, transform=transform)
    run = iter(loader)
    begun = read([next(run)])
    with pytest.raises(RuntimeError, match="boom"):
        next(run)
    assert loader.state_dict()["position"] == 4
    again = make(workers)
    again.load_state_dict(loader.state_dict())
    assert begun + read(again) == order(0)


def test_two_iterations_at_a_time():
    loader = make()
    first, second = iter(loader), iter(loader)
    begun = read([next(first)]), read([next(second)])
    assert (begun[0] + read(first), begun[1] + read(second)) == (order(0), order(1))
    loader = make(2)
    first, second = iter(loader), iter(loader)
    begun = read([next(first)]), read([next(second)])
    with pytest.raises(DsetpackError, match="a later iteration of this loader has begun"):
        next(first)
    assert begun[1] + read(second) == order(1)
    assert read(loader) == order(2)


def test_paired_rule_from_the_card():
    pack = FakePack(((7, 3),), rule="paired")
    assert read(PackLoader(pack, 4)) == slow_order.paired([(7, 3)], 0, 0)
    assert len(PackLoader(pack, 4)) == 2
    assert len(PackLoader(pack, 4, rule="product")) == 6
    assert len(PackLoader(pack, 4, drop_last=True)) == 1


def test_workers_do_not_touch_the_users_random_stream():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    read(make(1))
    assert torch.equal(torch.rand(3), expected)


def test_a_loader_pickles_mid_epoch():
    loader = make(1)
    run = iter(loader)
    next(run)
    clone = pickle.loads(pickle.dumps(loader))
    assert clone.state_dict() == loader.state_dict()
    assert read(clone) == order(1)


def test_the_device_decodes_unless_workers_do():
    class OnMeta(FakePack):
        def to(self, device):
            return OnMeta(((N, 1),), device=str(device))

    loader = PackLoader(OnMeta(((N, 1),)), 4, device="meta")
    assert loader.pack.device.type == "meta"
    assert next(iter(loader))[0].device.type == "meta"
    with pytest.raises(FormatError, match=r"pack\.to\('cpu'\)\.loader\(device='meta', num_workers=2\)"):
        PackLoader(OnMeta(((N, 1),), device="meta"), 4, num_workers=2)
    x, y = next(iter(make(1, device="meta")))
    assert (x.device.type, y.device.type) == ("meta", "meta")


@pytest.mark.parametrize("options", [{"workers": -1}, {"batch_size": 0}, {"seed": -1}, {"rank": 3, "world": 3}])
def test_bad_arguments(options):
    with pytest.raises(FormatError):
        make(**options)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_sampler_under_a_stock_loader(workers):
    dataset = PackDataset(FakePack(((N, 1),)))
    sampler = PairSampler(dataset.pack.table, 4)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=workers)
    assert len(loader) == 13
    assert [read(loader), read(loader)] == [order(0), order(1)]
    run = iter(loader)
    begun = read([next(run) for _ in range(3)])
    fresh = PairSampler(dataset.pack.table, 5)
    fresh.load_state_dict(sampler.state_dict(consumed=3))
    rest = read(DataLoader(dataset, batch_sampler=fresh, num_workers=2 - workers))
    assert begun + rest == order(2)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_sampler_under_the_stateful_loader(workers):
    def stateful():
        sampler = PairSampler(dataset.pack.table, 4)
        return StatefulDataLoader(dataset, batch_sampler=sampler, num_workers=workers)

    dataset = PackDataset(FakePack(((N, 1),)))
    for taken in (0, 1, 4, 13):
        first = stateful()
        run = iter(first)
        begun = read([next(run) for _ in range(taken)])
        state = first.state_dict()
        del run, first  # workers leave before others are forked
        second = stateful()
        second.load_state_dict(state)
        assert begun + read(second) == order(0)
        assert read(second) == order(1)
    finished = stateful()
    assert read(finished) == order(0)
    again = stateful()
    again.load_state_dict(finished.state_dict())
    assert read(again) == order(1)

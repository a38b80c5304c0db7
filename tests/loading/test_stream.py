"""``PackStream``: order for any number of workers, epochs across processes, elastic resume."""

import copy
import pickle
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from dsetpack.formats.errors import FormatError
from dsetpack.loading.stream import PackStream
from dsetpack.order.sampler import PairSampler
from tests.support import slow_order
from tests.support.as_worker import AsWorker
from tests.support.fake_pack import FakePack, epochs_of, pairs_of

N = 50


def stream(**options):
    return PackStream(FakePack(((N, 1),)), options.pop("batch_size", 4), **options)


def loader(source, workers=0, **options):
    if workers:
        options.setdefault("multiprocessing_context", "fork")
    return DataLoader(source, batch_size=None, num_workers=workers, **options)


def read(batches):
    """The pairs of many batches, in order."""
    return [pair for x, _ in batches for pair in pairs_of(x)]


def order(epoch, seed=0, n=N):
    return slow_order.permutation(n, seed, epoch)


def by_workers(source, count, take=None, seed=1234):
    """What a DataLoader with ``count`` workers would receive: their batches in turn."""
    runs, out = [], []
    for number in range(count):
        with AsWorker(number, count, seed):
            runs.append(iter(source))
    number = 0
    while runs and (take is None or len(out) < take):
        with AsWorker(number % count, count, seed):
            batch = next(runs[number % count], None)
        if batch is None:
            break
        out.append(batch)
        number += 1
    return out


def test_batches():
    source = stream(seed=2, transform=lambda x: x + 1)
    batches = list(loader(source))
    assert len(batches) == len(source) == len(loader(source)) == 13
    assert [len(y) for _, y in batches] == [4] * 12 + [2]
    assert [p for x, _ in batches for p in pairs_of(x - 1)] == order(0, seed=2)
    x, y = batches[0]
    assert (x.shape, x.dtype, y.dtype, x.requires_grad) == ((4, 1, 2, 2), torch.float32, torch.int64, False)
    assert y.tolist() == [p % 3 for p in pairs_of(x - 1)]
    assert (x - 1)[0].flatten().tolist()[1:3] == [2, 0]  # decoded with this seed and epoch


def test_the_card_chooses_the_rule():
    paired = PackStream(FakePack(((7, 3),), rule="paired"), 4)
    assert read(paired) == slow_order.paired([(7, 3)], 0, 0)
    assert len(read(PackStream(FakePack(((7, 3),), rule="paired"), 4, rule="product"))) == 21


def test_epochs_without_workers():
    source = stream()
    assert [read(source), read(source)] == [order(0), order(1)]
    assert source.epoch == 2
    next(iter(source))
    assert source.epoch == 2
    assert read(source) == order(3)
    source.set_epoch(1)
    assert read(loader(source)) == order(1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 3)), max_size=4),
    st.tuples(st.integers(0, 4), st.integers(1, 4)),
)
def test_resume_is_elastic_over_workers_and_ranks(n, batch_size, stages, last):
    pack, expected, done, state = FakePack(((n, 1),)), order(6, seed=3, n=n), [], None

    def ranks(world):
        made = [PackStream(pack, batch_size, seed=3, rank=r, world=world) for r in range(world)]
        for source in made:
            source.set_epoch(6) if state is None else source.load_state_dict(state)
        return made

    def merge(sources, workers, steps):
        each = [by_workers(s, workers, steps) if workers else list(islice(s, steps)) for s in sources]
        longest = max(len(run) for run in each)
        return [pair for k in range(longest) for run in each if k < len(run) for pair in pairs_of(run[k][0])], each

    for workers, world, steps in stages:
        sources = ranks(world)
        got, each = merge(sources, workers, steps)
        done += got
        state = sources[0].state_dict(consumed=len(each[0]))
        assert (state["epoch"], state["position"]) == (6, len(done))
    assert done + merge(ranks(last[1]), last[0], 99)[0] == expected


def test_states_without_workers_count_by_themselves():
    source = stream(batch_size=20)
    states = [source.state_dict(), *(source.state_dict() for _ in source), source.state_dict()]
    assert [(s["epoch"], s["position"]) for s in states] == [(0, 0), (0, 20), (0, 40), (0, 50), (1, 0)]
    assert source.state_dict(consumed=1)["position"] == 20
    fresh = stream(batch_size=7)
    fresh.load_state_dict(states[1])
    fresh.set_epoch(0)
    assert read(fresh) == order(0)[20:]
    assert read(fresh) == order(1)
    with pytest.raises(FormatError, match="no iteration has begun"):
        stream().state_dict(consumed=1)
    with pytest.raises(FormatError, match="seed 0, here it is 1"):
        stream(seed=1).load_state_dict(states[0])


def test_states_are_those_of_the_sampler():
    sampler = PairSampler(FakePack(((N, 1),)).table, 8)
    next(iter(sampler))
    source = stream()
    source.load_state_dict(sampler.state_dict())
    assert read(source) == order(0)[8:]


def test_zero_three_one_workers():
    first = stream()
    done = read(islice(loader(first), 3))
    second = stream()
    second.load_state_dict(first.state_dict())
    run = iter(loader(second, 3))
    done += read([next(run)])
    with pytest.raises(FormatError, match="consumed=number of batches"):
        second.state_dict()
    done += read([next(run) for _ in range(4)])
    state = second.state_dict(consumed=5)
    assert (state["epoch"], state["position"]) == (0, 32)
    third = stream()
    third.load_state_dict(state)
    assert done + read(loader(third, 1)) == order(0)
    assert read(loader(third, 1)) == order(1)
    assert third.state_dict(consumed=13)["position"] == 50


@pytest.mark.parametrize(
    ("context", "persistent"),
    [
        ("fork", False),
        ("fork", True),
        pytest.param("spawn", True, marks=pytest.mark.slow),
        pytest.param("forkserver", False, marks=pytest.mark.slow),
    ],
)
def test_epochs_with_workers(context, persistent):
    source = stream()
    source.set_epoch(5)
    workers = 1 if context == "forkserver" else 2
    batches = loader(source, workers, multiprocessing_context=context, persistent_workers=persistent)
    for epoch in (5, 6):
        got = list(batches)
        assert read(got) == order(epoch)
        assert {e for x, _ in got for e in epochs_of(x)} == {epoch}
        assert source.epoch == epoch
    source.set_epoch(2)
    assert read(batches) == order(2)
    if context == "fork":
        next(iter(batches))  # left early
        assert read(batches) == order(4)
        assert read(loader(source)) == order(5)
        assert read(loader(source, 3)) == order(6)


def test_epochs_advance_though_every_epoch_is_seeded_alike():
    source = stream()
    for epoch in range(3):
        torch.manual_seed(0)  # gives the workers of each iteration the same base seed
        assert read(loader(source, 2)) == order(epoch)


def test_a_batch_whose_transform_fails_is_not_taken():
    source = stream(transform=lambda x: x if fine else 1 / 0)
    fine, run = True, iter(source)
    begun = read([next(run)])
    fine = False
    with pytest.raises(ZeroDivisionError):
        next(run)
    assert source.state_dict()["position"] == 4
    fine = True
    assert begun + read(run) == order(0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_stateful_loader_resumes(workers, persistent):
    def make():
        options = {"multiprocessing_context": "fork", "persistent_workers": persistent} if workers else {}
        return StatefulDataLoader(stream(), batch_size=None, num_workers=workers, **options)

    for taken in (0, 1, 4, 13):
        first = make()
        run = iter(first)
        begun = read([next(run) for _ in range(taken)])
        state = first.state_dict()
        del run, first  # workers leave before others are forked
        second = make()
        second.load_state_dict(state)
        assert begun + read(second) == order(0)
        assert read(second) == order(1)
    finished = make()
    assert read(finished) == order(0)
    again = make()
    again.load_state_dict(finished.state_dict())
    assert read(again) == order(1)


def test_a_workers_state_is_that_workers():
    source = stream()
    with AsWorker(1, 2):
        run = iter(source)
        next(run)
        state = run.state_dict()
        assert source.state_dict() == {}
    with AsWorker(0, 2), pytest.raises(FormatError, match="worker 1 of 2 loaded by worker 0 of 2"):
        iter(source).load_state_dict(state)


def test_copies_are_independent():
    source = stream()
    next(iter(source))
    for duplicate in (copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        assert duplicate.state_dict() == source.state_dict()
        assert read(duplicate) == order(1)
        assert read(duplicate) == order(2)
    assert source.epoch == 0


def test_uneven_tail_and_drop_last():
    sources = [stream(batch_size=3, rank=r, world=4, drop_last=True) for r in range(4)]
    assert [len(s) for s in sources] == [4] * 4
    assert [len(list(s)) for s in sources] == [4] * 4
    assert [len(list(stream(batch_size=3, rank=r, world=4))) for r in range(4)] == [5, 5, 4, 4]

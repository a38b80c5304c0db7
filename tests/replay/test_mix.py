"""``MixedLoader``: how much and what is rehearsed, and exact resume from any position."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from dsetpack import FormatError, Pack
from dsetpack.order.rules import epoch_order
from dsetpack.replay import MixedLoader, ReplayMemory
from tests.support.replay_packs import arrays, haba, kfs


@pytest.fixture(scope="module")
def memory():
    made = ReplayMemory(encoding="exact")
    made.add(kfs([0, 1, 0]))
    made.add(kfs([2, 3]))
    return made


def new_loader(images=23, batch=5, seed=3):
    x, y = arrays([1, 2], images // 2 + 1)
    return Pack.from_arrays(x[:images], y[:images], classes=4).loader(batch, seed=seed)


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


@settings(deadline=None, max_examples=60)
@given(ratio=st.floats(0.05, 6), images=st.integers(1, 30), batch=st.integers(1, 9), epochs=st.integers(1, 3))
def test_ratio_order_and_place(memory, ratio, images, batch, epochs):
    """Compared with the order that dsetpack promises: the memory's epochs one after another, cut into pieces."""
    pack, seen, pieces = memory.pack, 0, []
    mixed, plain = MixedLoader(new_loader(images, batch), pack, ratio, seed=7), new_loader(images, batch)
    count = math.ceil(epochs * images * ratio / len(pack)) + 1
    orders = np.concatenate([epoch_order(pack.table, "product", 7, epoch) for epoch in range(count)])
    for _ in range(epochs):
        assert len(mixed) == len(plain)
        for (x, y), (new_x, new_y) in zip(mixed, plain, strict=True):
            first, seen = math.floor(seen * ratio), seen + len(new_x)
            pairs = orders[first : math.floor(seen * ratio)]
            pieces.append(len(pairs))
            again_x, again_y = pack.decode(pairs) if len(pairs) else (new_x[:0], new_y[:0])
            assert torch.equal(x[: len(new_x)], new_x)
            assert torch.allclose(x[len(new_x) :], again_x, atol=1e-5)  # other batches round differently
            assert torch.equal(y, torch.cat([new_y, again_y]))
    assert sum(pieces) == math.floor(epochs * images * ratio)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.7])
def test_resume_at_every_position(memory, ratio):
    """Two epochs; a new loader resumes from the state after each batch, after a round trip through JSON."""
    mixed, batches, states = memory.mix(new_loader(), ratio, seed=1), [], []
    states.append(mixed.state_dict())
    for _ in range(2):
        for batch in mixed:
            batches.append(batch)
            states.append(mixed.state_dict())
    for position, state in enumerate(states):
        again = memory.mix(new_loader(), ratio, seed=1)
        again.load_state_dict(json.loads(json.dumps(state)))
        rest = [batch for _ in range(again.new.epoch, 2) for batch in again]
        same(rest, batches[position:])


def test_an_empty_memory_gives_new_data_alone(memory):
    """The first task of a run, and its resume; its state does not fit a memory with tasks."""
    empty = ReplayMemory(classes=4)
    mixed, batches = empty.mix(new_loader(), 0.5, seed=1), list(new_loader())
    assert len(mixed) == len(batches)
    first = next(iter(mixed))
    state = json.loads(json.dumps(mixed.state_dict()))
    assert (state["seen"], state["pairs"], state["ratio"]) == (5, 0, 0.5)
    again = empty.mix(new_loader(), 0.5, seed=1)
    again.load_state_dict(state)
    same([first, *again], batches)
    with pytest.raises(FormatError, match="pairs 0, here it is 15"):
        memory.mix(new_loader(), 0.5, seed=1).load_state_dict(state)
    with pytest.raises(FormatError, match="pairs 15, here it is 0"):
        again.load_state_dict(memory.mix(new_loader(), 0.5, seed=1).state_dict())
    with pytest.raises(FormatError, match="a batch of new data is .*a pair of tensors"):
        list(empty.mix([torch.zeros(2)]))
    with pytest.raises(FormatError, match="ratio is 0"):
        empty.mix(new_loader(), 0)


def test_a_loader_that_is_left_early_goes_on(memory):
    mixed = memory.mix(new_loader(), seed=1)
    first = next(iter(mixed))
    state = mixed.state_dict()
    mixed.load_state_dict(state)
    rest = list(mixed)
    same([first, *rest], list(memory.mix(new_loader(), seed=1)))


def test_ranks_share_the_rehearsal_out(memory):
    """Each rank takes every other sample of the same order."""
    pack = memory.pack
    order = np.concatenate([epoch_order(pack.table, "product", 2, e) for e in range(4)])
    for rank in range(2):
        mixed = MixedLoader(new_loader(20, 5), pack, 1.0, seed=2, rank=rank, world=2)
        found = torch.cat([x[5:] for x, _ in mixed])
        assert torch.allclose(found, pack.decode(order[rank : 40 + rank : 2][:20])[0], atol=1e-5)


def test_the_memorys_rule_of_epochs(memory):
    pack = haba([0, 1, 2])
    x, y = next(iter(MixedLoader(new_loader(), pack, 0.6, seed=5)))
    assert sorted(y[5:].tolist()) == [0, 1, 2]  # each source once
    assert torch.equal(x[5:], pack.decode(epoch_order(pack.table, "paired", 5, 0))[0])


def test_a_stock_loader_may_bring_the_new_data_but_cannot_resume(memory):
    x, y = arrays([0, 1], 4)
    stock = DataLoader(TensorDataset(torch.from_numpy(x).float() / 255, torch.from_numpy(y)), batch_size=4)
    mixed = memory.mix(stock, 0.5)
    assert [len(y) for _, y in mixed] == [6, 6]
    with pytest.raises(FormatError, match="DataLoader, which cannot say where it stands"):
        mixed.state_dict()


def test_a_stateful_loader_resumes(memory):
    data = pytest.importorskip("torchdata.stateful_dataloader")
    x, y = arrays([0, 1], 6)

    def make():
        new = data.StatefulDataLoader(
            TensorDataset(torch.from_numpy(x).float() / 255, torch.from_numpy(y)), batch_size=5
        )
        return memory.mix(new, 1.0)

    mixed, found, states = make(), [], []
    for batch in mixed:
        found.append(batch)
        states.append(mixed.state_dict())
    again = make()
    again.load_state_dict(states[0])
    same(list(again), found[1:])


@pytest.mark.parametrize("ratio", [0, -1, math.inf, math.nan, "0.5", None])
def test_bad_ratios(memory, ratio):
    with pytest.raises(FormatError, match="ratio is"):
        memory.mix(new_loader(), ratio)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), r"new images .*\[2, 1, 8, 8\]"),
        (torch.zeros(2, 1, 12, 12, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 1, 12, 12), torch.zeros(2, 4), "new labels .*hard"),
        (torch.zeros(2, 1, 12, 12), torch.zeros(3, dtype=torch.int64), r"new labels .*\[3\]"),
    ],
)
def test_new_batches_that_do_not_fit(memory, x, y, message):
    with pytest.raises(FormatError, match=message):
        list(memory.mix([(x, y)]))


@pytest.mark.parametrize("batch", [torch.zeros(2, 1, 12, 12), (torch.zeros(2, 1, 12, 12),) * 3, ([0.0], [1]), {"x": 1}])
def test_new_data_that_are_no_pairs(memory, batch):
    with pytest.raises(FormatError, match="a batch of new data is .*a pair of tensors"):
        list(memory.mix([batch]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 9}, "seed 9"),
        ({"ratio": 2.0}, r"ratio 2\.0"),
        ({"pairs": 1}, "pairs 1"),
        ({"world": 2}, "world 2"),
        ({"version": 4}, "version 4, this dsetpack reads 3"),
        ({"seen": -1}, "seen -1"),
        ({"seen": "3"}, "seen '3'"),
        ({"new": {}}, "missing"),
    ],
)
def test_states_that_do_not_fit_change_nothing(memory, change, message):
    mixed = memory.mix(new_loader(), seed=1)
    next(iter(mixed))
    before = mixed.state_dict()
    with pytest.raises(FormatError, match=message):
        mixed.load_state_dict({**before, **change})
    with pytest.raises(FormatError, match="seen missing"):
        mixed.load_state_dict({key: value for key, value in before.items() if key != "seen"})
    assert mixed.state_dict() == before


def test_memories_that_have_changed_are_refused(memory):
    state = memory.mix(new_loader()).state_dict()
    other = ReplayMemory(encoding="exact")
    other.add(kfs([0, 1, 0]))
    with pytest.raises(FormatError, match="pairs 15, here it is 9"):
        other.mix(new_loader()).load_state_dict(state)
    relabelled = ReplayMemory(encoding="exact")
    relabelled.add(kfs([3, 1, 0]))
    relabelled.add(kfs([2, 3]))
    with pytest.raises(FormatError, match="of other values"):
        relabelled.mix(new_loader()).load_state_dict(state)


def test_states_belong_to_the_values_that_were_mixed(memory, tmp_path):
    """Dropping sources and saving change the values of an int8 memory; only states from after the save fit its file."""
    learned = ReplayMemory("1MB")
    learned.add(haba([0, 1, 2, 3, 0, 1], seed=3))
    learned.keep_images(8)
    early = learned.mix(new_loader()).state_dict()
    learned.save(tmp_path / "x.dpk")
    state = learned.mix(new_loader()).state_dict()
    opened = ReplayMemory.open(tmp_path / "x.dpk")
    opened.mix(new_loader()).load_state_dict(state)
    with pytest.raises(FormatError, match="of other values: .*save a memory before it is mixed"):
        opened.mix(new_loader()).load_state_dict(early)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_rehearsed_images_have_the_dtype_of_the_new_ones(memory, dtype):
    [(x, _)] = memory.mix([(torch.zeros(2, 1, 12, 12, dtype=dtype), torch.tensor([0, 1]))])
    assert x.dtype == dtype


def test_what_is_mixed_is_a_pack(memory):
    with pytest.raises(FormatError, match="found a ReplayMemory where a pack was expected, such as .* a memory.s pack"):
        MixedLoader(new_loader(), memory)


def test_a_state_of_an_earlier_version_is_told_so(memory):
    state = memory.mix(new_loader()).state_dict()
    state = {**{key: value for key, value in state.items() if key != "contents"}, "labels": "ab", "version": 2}
    with pytest.raises(FormatError, match="version 2, this dsetpack reads 3"):
        memory.mix(new_loader()).load_state_dict(state)


def test_packs_that_are_being_learned_have_a_state(memory):
    pack = kfs([0, 1])
    pack.parts[0].sources.requires_grad_()
    mixed = MixedLoader(new_loader(), pack)
    MixedLoader(new_loader(), pack).load_state_dict(mixed.state_dict())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_memory_on_a_gpu_rehearses_on_the_new_ones_device(memory, where):
    new = [(x.to(where), y.to(where)) for x, y in new_loader()]
    for (x, y), (like_x, like_y) in zip(
        MixedLoader(new, memory.pack.to("cuda")), memory.mix(new_loader()), strict=True
    ):
        assert x.device.type == y.device.type == where
        assert torch.allclose(x.cpu(), like_x, atol=1e-5)
        assert torch.equal(y.cpu(), like_y)

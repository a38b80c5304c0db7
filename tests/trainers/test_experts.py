"""Experts of trajectory matching: plain SGD on the real data, kept on disk and read row by row."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.formats.notices import Notice
from dsetpack.formats.progress import Work
from dsetpack.spaces import Raw
from dsetpack.trainers import context as context_module
from dsetpack.trainers import experts as experts_module
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import precision
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.experts import Experts, ExpertSettings
from dsetpack.trainers.objectives.means import NetworkPool
from dsetpack.trainers.objectives.mtt import Student
from dsetpack.training.augment import Dsa
from tests.support.mtt_cases import CLASSES, DSA, IMAGE, SMALL, Pixels, context, images

EXPERTS = ExpertSettings(count=3, epochs=4, batch=8, lr=0.1)


def recorder(where: Context, settings: ExpertSettings = EXPERTS, width: int = 4) -> Experts:
    pool = NetworkPool("convnet3", width, settings.count, where.seed, IMAGE, CLASSES)
    return Experts(settings, pool, where)


@pytest.mark.parametrize(("epoch_steps", "drop"), [(None, 0.0), (2, 0.0), (5, 0.0), (None, 0.25)])
def test_an_expert_is_plain_sgd_on_the_real_data(tmp_path, epoch_steps, drop):
    """With ``drop`` it trains on the hardest images of each batch."""
    where = context(tmp_path)
    settings = EXPERTS.model_copy(update={"epoch_steps": epoch_steps, "momentum": 0.5, "lr": 0.02, "drop": drop})
    found = recorder(where, settings)
    found.prepare()
    net = found.pool.build(1, "cpu").requires_grad_(True)
    drawn = torch.Generator().manual_seed(experts_module.generator(where.seed, "expert", 1).initial_seed())
    x, y = where.space.apply(where.data.images / 255), where.data.labels
    order = torch.cat([torch.randperm(21, generator=drawn) for _ in range(10)])
    cuts = [start + size for start in range(0, 210, 21) for size in (0, 8, 16)]
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    for step in range(4 * (epoch_steps or 3)):
        if step % (epoch_steps or 3) == 0:
            theta = torch.cat([p.detach().flatten() for p in net.parameters()])
            assert torch.allclose(found(1, step // (epoch_steps or 3)), theta, rtol=1e-4, atol=1e-6)
        chosen = order[cuts[step] : cuts[step + 1]]
        each = -F.log_softmax(net(x[chosen]), 1)[torch.arange(len(chosen)), y[chosen]]
        loss = each.topk(len(chosen) - int(drop * len(chosen))).values.mean()
        with torch.no_grad():
            for p, v, g in zip(net.parameters(), velocity, torch.autograd.grad(loss, [*net.parameters()]), strict=True):
                p -= 0.02 * v.mul_(0.5).add_(g)
    assert (found(1, 4) - found(1, 3)).abs().max() > 1e-3
    assert not torch.equal(found(1, 4), found(2, 4))


def test_experts_learn_with_augmentation_of_each_image(tmp_path, monkeypatch):
    calls = []
    call = Dsa.__call__
    monkeypatch.setattr(Dsa, "__call__", lambda self, x, g, siamese=False: calls.append(siamese) or call(self, x, g))
    where = context(tmp_path, augment=DSA)
    found = recorder(where, EXPERTS.model_copy(update={"epochs": 30, "momentum": 0.8}))
    found.prepare()
    assert calls == [False] * (3 * 30 * 3)
    net = Student(found.pool.build(0, "cpu"))
    losses = [net.loss(found(0, epoch), where.real, where.data.labels).item() for epoch in (0, 30)]
    assert losses[1] < 0.8 * losses[0]


def test_experts_are_a_function_of_seed_and_number(tmp_path):
    first, second = recorder(context(tmp_path / "a", augment=DSA)), recorder(context(tmp_path / "b", augment=DSA))
    first.prepare()
    second._record(2, Work("x", 1))  # without the experts before it
    assert first.path(2).read_bytes() == second.path(2).read_bytes()


def count_recordings(monkeypatch, stop_at: int | None = None) -> list[int]:
    made: list[int] = []
    record = Experts._record

    def counted(self, number, *rest):
        if len(made) == stop_at and -1 not in made:
            made.append(-1)
            raise KeyboardInterrupt
        made.append(number)
        record(self, number, *rest)

    monkeypatch.setattr(Experts, "_record", counted)
    return made


def test_experts_are_cached_and_an_interrupted_recording_goes_on(tmp_path, monkeypatch, capsys):
    made = count_recordings(monkeypatch, stop_at=1)
    with pytest.raises(KeyboardInterrupt):
        recorder(context(tmp_path)).prepare()
    recorder(context(tmp_path)).prepare(show=True)
    assert made == [0, -1, 1, 2]
    assert "experts: 8/8 expert 2" in capsys.readouterr().err
    recorder(context(tmp_path)).prepare()
    more = recorder(context(tmp_path), EXPERTS.model_copy(update={"count": 4}))
    more.prepare()  # keeps the existing ones
    assert made == [0, -1, 1, 2, 3]
    assert len(list(tmp_path.rglob("*.npy"))) == len([p for p in tmp_path.rglob("*") if p.is_file()]) == 4


def test_a_recording_interrupted_inside_an_expert_leaves_no_part_of_it(tmp_path, monkeypatch):
    trajectory = experts_module.trajectory

    def broken(*args):
        for epoch, parameters in enumerate(trajectory(*args)):
            if epoch == 2:
                raise KeyboardInterrupt
            yield parameters

    monkeypatch.setattr(experts_module, "trajectory", broken)
    with pytest.raises(KeyboardInterrupt):
        recorder(context(tmp_path)).prepare()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_large_caches_are_announced(tmp_path, monkeypatch):
    monkeypatch.setattr(context_module, "LARGE", 1)
    found = recorder(context(tmp_path))
    with pytest.warns(Notice, match=r"^3 experts will take 0\.0 GB in .*experts-.*--cache") as told:
        found.prepare()
    assert len(told) == 1


def test_cache_keys_tell_everything_apart(tmp_path):
    plain = context(tmp_path)
    data = plain.data
    swapped = ImageData(data.images, (data.labels + 1) % CLASSES, data.classes, "noise")
    found = [
        recorder(plain),
        recorder(context(tmp_path, images(seed=1))),
        recorder(context(tmp_path, swapped)),
        recorder(context(tmp_path, seed=1)),
        recorder(context(tmp_path, augment=DSA)),
        recorder(Context(data, Raw(), 2, 0, tmp_path, plain.run)),
        recorder(plain, width=5),
        *(recorder(plain, EXPERTS.model_copy(update={k: v})) for k, v in OTHERS.items()),
    ]
    assert len({e.folder for e in found}) == len(found)
    renamed = ImageData(data.images, data.labels, data.classes, "another name")
    assert recorder(context(tmp_path, renamed), EXPERTS.model_copy(update={"count": 9})).key() == found[0].key()
    with precision("bf16", torch.device("cpu")):
        assert recorder(plain).folder not in {e.folder for e in found}


OTHERS = {"epochs": 5, "epoch_steps": 2, "batch": 9, "lr": 0.2, "momentum": 0.5, "drop": 0.2, "precision": "f16"}


def large(tmp_path, monkeypatch) -> Experts:
    """Experts of 300,000 parameters and 30 epochs, without any training."""
    found = recorder(context(tmp_path), ExpertSettings(count=1, epochs=30), width=128)
    size = found._dtype["parameters"].shape[0]
    assert size > 290_000
    monkeypatch.setattr(
        experts_module, "trajectory", lambda *_: (torch.full((size,), 0.5 + epoch) for epoch in range(31))
    )
    found.prepare()
    return found


def test_only_the_rows_needed_are_read(tmp_path, monkeypatch):
    found = large(tmp_path, monkeypatch)
    row = found._dtype.itemsize
    assert 31 * row < found.path(0).stat().st_size < 31 * row + 1000
    found(0, 3)
    tracemalloc.start()
    assert float(found(0, 7).mean()) == 7.5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * row
    content = bytearray(found.path(0).read_bytes())
    content[-5 * row : -4 * row] = bytes(row)  # epoch 26
    found.path(0).write_bytes(content)
    made = count_recordings(monkeypatch)
    assert [float(found(0, epoch)[0]) for epoch in (0, 25, 27, 30)] == [0.5, 25.5, 27.5, 30.5]
    assert made == []
    assert float(found(0, 26)[0]) == 26.5  # the damage is found, and the expert recorded again
    assert made == [0]


@pytest.mark.parametrize("damage", ["cut", "empty", "head", "gone", "pickle", "other"])
def test_a_damaged_file_is_recorded_again(tmp_path, monkeypatch, damage):
    found = recorder(context(tmp_path))
    found.prepare()
    path, expected = found.path(1), found(1, 2)
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "other":
        np.save(path, np.zeros((5, 7), np.float32))
    else:
        path.write_bytes({"cut": whole[:-9], "empty": b"", "head": whole[:20] + b"((" + whole[22:]}[damage])
    made = count_recordings(monkeypatch)
    if damage in ("cut", "pickle"):
        found.prepare()
    assert torch.equal(found(1, 2), expected)
    assert made == [1]
    assert path.read_bytes() == whole


def test_a_file_that_cannot_be_repaired_is_an_error(tmp_path, monkeypatch):
    found = recorder(context(tmp_path))
    monkeypatch.setattr(Experts, "_record", lambda *_: None)
    with pytest.raises(IntegrityError, match=r"0002.npy: damaged again"):
        found(2, 0)


def test_half_precision_halves_the_file_and_rounds_to_11_bits(tmp_path):
    full = recorder(context(tmp_path))
    half = recorder(context(tmp_path), EXPERTS.model_copy(update={"precision": "f16"}))
    full.prepare()
    half.prepare()
    assert half(0, 3).dtype == torch.float32
    assert torch.equal(half(0, 3), full(0, 3).half().float())
    assert half._dtype.itemsize - 4 == (full._dtype.itemsize - 4) // 2


def test_experts_that_diverge_are_refused(tmp_path):
    with pytest.raises(DsetpackError, match=r"expert 0: parameters that are not finite in f16 after epoch \d .*lower"):
        recorder(context(tmp_path), EXPERTS.model_copy(update={"lr": 1e6, "precision": "f16"})).prepare()
    assert not list(tmp_path.rglob("*.npy"))


def test_processes_share_experts_out(tmp_path, monkeypatch):
    made, waits = count_recordings(monkeypatch), []
    monkeypatch.setattr(parallel, "world", lambda: 2)
    monkeypatch.setattr(parallel, "rank", lambda: 1)
    monkeypatch.setattr(parallel, "wait", lambda: waits.append(1))
    recorder(context(tmp_path), EXPERTS.model_copy(update={"count": 5})).prepare()
    assert made == [1, 3]
    assert waits == [1]


def test_runs_with_other_seeds_can_share_experts(tmp_path, monkeypatch):
    made = count_recordings(monkeypatch)
    shared = SMALL.model_copy(update={"experts": SMALL.experts.model_copy(update={"seed": 4})})
    for seed in (0, 1):
        shared.build(context(tmp_path, seed=seed), Pixels())
    assert made == [0, 1]
    for seed in (0, 1):
        SMALL.build(context(tmp_path, seed=seed), Pixels())
    assert made == [0, 1, 0, 1, 0, 1]

"""Trajectory matching: gradients against finite differences and the plain unrolled graph; experts on disk."""

import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dsetpack.augment import Dsa
from dsetpack.decoders import decoder
from dsetpack.formats.card import Augmentation, NormalizedSpace, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError
from dsetpack.formats.kinds.kfs import Config
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers import experts as experts_module
from dsetpack.trainers import parallel
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.experts import Experts, ExpertSettings
from dsetpack.trainers.loop import Group, Interrupted, Run, Schedule, optimise
from dsetpack.trainers.networks import network
from dsetpack.trainers.objectives import mtt
from dsetpack.trainers.objectives.base import Distillation
from dsetpack.trainers.objectives.means import NetworkPool
from dsetpack.trainers.objectives.mtt import Settings, Student, TrajectoryMatching
from dsetpack.trainers.parameterizations.base import Parameterization
from dsetpack.trainers.parameterizations.kfs import Kfs

IMAGE, CLASSES = (2, 8, 10), 3
DSA = Dsa(Augmentation(ops=("color", "crop", "scale"), mode="all"))


class Pixels(Parameterization):
    """The smallest set: images themselves."""

    def __init__(self, per_class: int = 2, lr: float = 1.0) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(5)
        self.pixels = nn.Parameter(torch.rand(per_class * CLASSES, *IMAGE, generator=drawn))
        self.register_buffer("labels", torch.arange(CLASSES).repeat_interleave(per_class), persistent=False)
        self.space, self.lr = Raw(), lr

    def images(self, pairs=None):
        return self.pixels if pairs is None else self.pixels[pairs]

    def groups(self):
        return [Group(name="pixels", params=[self.pixels], lr=self.lr)]

    def parts(self):
        raise NotImplementedError


def kfs() -> Kfs:
    torch.manual_seed(0)
    bank = decoder("kfs", Config(decoders=2, channels=(3, 2), kernel=4), IMAGE, CLASSES)
    codes = torch.randn(CLASSES, *bank.config.source_shape(IMAGE))
    return Kfs(
        codes,
        torch.arange(CLASSES),
        bank,
        Normalized(NormalizedSpace(mean=(0.4, 0.5), std=(0.2, 0.3))),
        lr_codes=0.3,
        lr_decoders=0.03,
    )


def smooth_net() -> nn.Module:
    """A network without kinks: finite differences mean something everywhere."""
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.GroupNorm(3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten())
    return nn.Sequential(body, nn.Linear(3 * 4 * 5, CLASSES)).double()


def convnet() -> nn.Module:
    return network("convnet3", IMAGE, CLASSES, 4, seed=1).double()


class Walk:
    """Stands in for experts: parameters of a network, moved a little at random from epoch to epoch."""

    def __init__(self, net: nn.Module) -> None:
        self.start = torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()
        self.asked: list[tuple[int, int]] = []
        self.fixed: Tensor | None = None

    def __call__(self, number: int, epoch: int) -> Tensor:
        self.asked.append((number, epoch))
        if self.fixed is not None and len(self.asked) % 2 == 0:
            return self.fixed
        drawn = torch.Generator().manual_seed(100 * number + epoch)
        return self.start + 0.05 * torch.randn(len(self.start), generator=drawn, dtype=self.start.dtype)


class Recorded:
    """An augmentation that notes its seeds."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, x: Tensor, seed: int, siamese: bool = False) -> Tensor:
        assert not siamese
        self.seeds.append(seed)
        return DSA(x, seed)


def objective(net: nn.Module, alpha: float = 0.4, augment: object = DSA, **changes: object) -> TrajectoryMatching:
    values = {"syn_steps": 3, "max_start": 3, "lr": alpha, "experts": {"count": 2, "epochs": 8}, **changes}
    return TrajectoryMatching(Settings(**values), Walk(net), Student(net), augment)


def loss_of(work: TrajectoryMatching, synthetic: Parameterization) -> float:
    return work.backward(synthetic, 0, torch.Generator().manual_seed(3))["trajectory"].item()


def gradients(work: TrajectoryMatching, synthetic: Parameterization) -> list[Tensor]:
    synthetic.zero_grad()
    work.alpha.grad = None
    loss_of(work, synthetic)
    return [p.grad.clone() for p in (*synthetic.parameters(), work.alpha)]


def unrolled(work: TrajectoryMatching, synthetic: Parameterization) -> tuple[Tensor, Tensor]:
    """The loss and the student's end as one plain graph, on the draws that ``work`` makes from the same seed."""
    drawn, seen = [], Recorded()
    batch, synthetic.batch = synthetic.batch, lambda *a: drawn.append(batch(*a)) or drawn[-1]
    kept, work.augment, work.experts.asked = work.augment, seen if work.augment else None, []
    loss_of(work, synthetic)
    work.augment, (first, last) = kept, work.experts.asked
    synthetic.batch = batch
    work.experts.asked = []
    start, target = work.experts(*first), work.experts(*last)
    named = list(work.student.net.named_parameters())
    theta = start.clone().requires_grad_()
    for step, pairs in enumerate(drawn):
        x = synthetic.images(pairs)
        x = x if work.augment is None else DSA(x, seen.seeds[step])
        at, values = 0, {}
        for name, p in named:
            values[name] = theta[at : at + p.numel()].view(p.shape)
            at += p.numel()
        loss = F.cross_entropy(functional_call(work.student.net, values, (x,)), synthetic.labels[pairs])
        theta = theta - work.alpha * torch.autograd.grad(loss, theta, create_graph=True)[0]
    return (theta - target).square().sum() / (start - target).square().sum(), theta


@pytest.mark.parametrize("syn_batch", [None, 4])
def test_gradient_through_3_steps_is_that_of_finite_differences(syn_batch):
    work, synthetic = objective(smooth_net(), syn_batch=syn_batch), Pixels().double()
    pixels, alpha = gradients(work, synthetic)
    assert pixels.abs().max() > 1e-5
    assert alpha.abs() > 1e-4

    def slope(value: Tensor, place: tuple[int, ...], h: float = 1e-5) -> float:
        ends = []
        for sign in (1, -1):
            value[place] += sign * h
            ends.append(loss_of(work, synthetic))
            value[place] -= sign * h
        return (ends[0] - ends[1]) / (2 * h)

    assert slope(work.alpha.data, ()) == pytest.approx(alpha.item(), rel=1e-6)
    places = torch.randint(pixels.numel(), (12,), generator=torch.Generator().manual_seed(0)).tolist()
    for flat in [*places, int(pixels.abs().argmax())]:
        place = tuple(int(i) for i in np.unravel_index(flat, pixels.shape))
        assert slope(synthetic.pixels.data, place, 1e-4) == pytest.approx(pixels[place].item(), rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("graph_images", [0, 7, 1000])
@pytest.mark.parametrize("syn_batch", [None, 4])
@pytest.mark.parametrize("make", [Pixels, kfs])
def test_gradient_is_that_of_the_plain_unrolled_graph(make, syn_batch, graph_images, monkeypatch):
    monkeypatch.setattr(mtt, "DECODE", 5)  # several pieces
    synthetic = make().double()
    work = objective(convnet(), syn_batch=syn_batch, graph_images=graph_images, syn_steps=4)
    found = gradients(work, synthetic)
    loss, _ = unrolled(work, synthetic)
    assert loss_of(work, synthetic) == pytest.approx(loss.item(), rel=1e-12)
    expected = torch.autograd.grad(loss, [*synthetic.parameters(), work.alpha])
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 1e-7
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-13 * theirs.abs().max().item())


def test_which_graphs_are_kept():
    batches = [mtt._Batch(torch.arange(4), torch.arange(4), 0)] * 5
    for images, first in [(0, 5), (3, 5), (4, 4), (11, 3), (20, 0), (99, 0)]:
        assert objective(smooth_net(), graph_images=images)._first_kept(batches) == first


def test_loss_is_0_where_the_student_lands_on_the_expert():
    work, synthetic = objective(smooth_net()), Pixels().double()
    _, end = unrolled(work, synthetic)
    work.experts.asked, work.experts.fixed = [], end.detach()
    assert loss_of(work, synthetic) < 1e-28
    work.experts.asked = []
    assert all(g.abs().max() < 1e-12 for g in gradients(work, synthetic))


def test_loss_is_1_where_it_does_not_move():
    work, synthetic = objective(smooth_net()), Pixels().double()
    with torch.no_grad():
        work.alpha.zero_()
    assert loss_of(work, synthetic) == 1
    assert all(g.abs().max() == 0 for g in gradients(work, synthetic)[:-1])


def test_gradients_are_added():
    work, synthetic = objective(smooth_net()), Pixels().double()
    once = gradients(work, synthetic)
    loss_of(work, synthetic)
    for p, g in zip((*synthetic.parameters(), work.alpha), once, strict=True):
        assert torch.equal(p.grad, 2 * g)


def test_segments_are_drawn_as_asked():
    work, synthetic = objective(smooth_net(), expert_epochs=4, max_start=3, syn_steps=1), Pixels().double()
    drawn = torch.Generator().manual_seed(0)
    for step in range(40):
        work.backward(synthetic, step, drawn)
    asked = work.experts.asked
    assert all(a[0] == b[0] and b[1] == a[1] + 4 for a, b in zip(asked[::2], asked[1::2], strict=True))
    assert set(asked[::2]) == {(n, t) for n in range(2) for t in range(3)}


def test_an_expert_that_does_not_move_is_named():
    work = objective(smooth_net())
    work.experts = lambda number, epoch: torch.ones(5)
    with pytest.raises(DsetpackError, match=r"expert [01] is the same after \d and \d epochs: .*precision f32"):
        loss_of(work, Pixels().double())


def test_alpha_learns_stays_above_its_minimum_and_ends_in_the_recipe():
    work, synthetic = objective(convnet().float(), lr=0.05, lr_lr=1e-3, lr_min=0.02), Pixels()
    work.experts.start = work.experts.start.float()
    optimise(Distillation(work, synthetic), Schedule(steps=4, optimizer="sgd"), seed=0)
    recipe = Recipe(epochs=7, momentum=0.8)
    found = work.evaluation(recipe)
    assert found.lr == work.alpha.item() not in (0.05, recipe.lr)
    assert found.model_copy(update={"lr": recipe.lr}) == recipe
    with torch.no_grad():
        work.alpha.fill_(-1)
    work.after(synthetic, 0, torch.Generator())
    assert work.evaluation(recipe).lr == 0.02
    (group,) = work.groups()
    assert (group["lr"], group["momentum"]) == (1e-3, 0.5)


# Experts


def images(per_class: int = 7, seed: int = 0) -> ImageData:
    """Noise, and a bright bar at a place of its own for each class."""
    drawn = torch.Generator().manual_seed(seed)
    y = torch.arange(per_class * CLASSES) % CLASSES
    x = torch.randint(0, 90, (len(y), *IMAGE), generator=drawn)
    for n, label in enumerate(y.tolist()):
        x[n, :, :, 3 * label + 1 : 3 * label + 3] += 150
    return ImageData(x.to(torch.uint8), y, tuple("abc"), "noise")


def context(cache: Path, data: ImageData | None = None, seed: int = 0, augment: Dsa | None = None) -> Context:
    data = data or images()
    return Context(data, Normalized.fit(data.images), 2, seed, cache, lambda name: Run(name=name), augment)


EXPERTS = ExpertSettings(count=3, epochs=4, batch=8, lr=0.1)


def recorder(where: Context, settings: ExpertSettings = EXPERTS, width: int = 4) -> Experts:
    pool = NetworkPool("convnet3", width, settings.count, where.seed, IMAGE, CLASSES)
    return Experts(settings, pool, where)


@pytest.mark.parametrize("epoch_steps", [None, 2, 5])
def test_an_expert_is_plain_sgd_on_the_real_data(tmp_path, epoch_steps):
    where = context(tmp_path)
    settings = EXPERTS.model_copy(update={"epoch_steps": epoch_steps, "momentum": 0.5, "lr": 0.02})
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
        loss = F.cross_entropy(net(x[chosen]), y[chosen])
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
    second._record(2, experts_module.Meter("x", 1))  # alone, and first
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
    more.prepare()  # keeps those that are there
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


OTHERS = {"epochs": 5, "epoch_steps": 2, "batch": 9, "lr": 0.2, "momentum": 0.5, "precision": "f16"}


def large(tmp_path, monkeypatch) -> Experts:
    """Experts of 300,000 parameters, 30 epochs, in no time."""
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
    assert float(found(0, 26)[0]) == 26.5  # found out, and recorded again
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


# The whole


SMALL = Settings(
    width=4,
    syn_steps=3,
    expert_epochs=2,
    max_start=2,
    lr=0.05,
    lr_lr=1e-3,
    syn_batch=4,
    experts={"count": 2, "epochs": 3, "batch": 8, "lr": 0.05},
)


@pytest.mark.parametrize("make", [lambda: Pixels(lr=3.0), kfs])
def test_a_few_real_steps_lower_the_loss(tmp_path, make):
    synthetic, where = make(), context(tmp_path)
    work = SMALL.model_copy(update={"syn_batch": None, "syn_steps": 6}).build(where, synthetic)

    def mean() -> float:
        return sum(work.backward(synthetic, 0, torch.Generator().manual_seed(s))["trajectory"].item() for s in range(8))

    before = mean()
    optimise(Distillation(work, synthetic), Schedule(steps=25, optimizer="sgd", momentum=0.5), seed=0)
    assert mean() < 0.9 * before


@pytest.mark.parametrize("make", [Pixels, kfs])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, make):
    schedule = Schedule(steps=6, optimizer="sgd", momentum=0.5)
    where = context(tmp_path / "cache", augment=DSA)

    def state(work: TrajectoryMatching, synthetic: Parameterization) -> list[Tensor]:
        return [*synthetic.parameters(), work.alpha]

    straight = make()
    expected = SMALL.build(where, straight)
    optimise(Distillation(expected, straight), schedule, seed=7)

    first = make()
    stop = Run(tmp_path, on_step=lambda step, _: os.kill(os.getpid(), signal.SIGINT) if step == 2 else None)
    with pytest.raises(Interrupted):
        optimise(Distillation(SMALL.build(where, first), first), schedule, seed=7, run=stop)
    second = make()
    work = SMALL.build(where, second)
    optimise(Distillation(work, second), schedule, seed=7, run=Run(tmp_path, resume=True))
    for a, b, c in zip(state(expected, straight), state(work, second), first.parameters(), strict=False):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert work.alpha != SMALL.lr


def test_starts_beyond_the_recording_are_refused():
    Settings(max_start=9, expert_epochs=2, experts={"epochs": 10})
    with pytest.raises(ValidationError, match=r"need epoch 11; experts are recorded up to epoch 10: lower max_start"):
        Settings(max_start=10, expert_epochs=2, experts={"epochs": 10})
    with pytest.raises(ValidationError, match=r"max_start\n.*need epoch 21; experts are recorded up to epoch 20"):
        Settings(experts={"epochs": 20})  # against the default of 20


def test_what_it_refuses(tmp_path):
    assert "draws new ones" in Settings.refuses["generator"]

    class Learned(Pixels):
        def targets(self, pairs=None):
            return torch.zeros(len(pairs), CLASSES)

    with pytest.raises(FormatError, match="hard labels; this set learns its labels"):
        SMALL.build(context(tmp_path), Learned())


def test_runs_with_other_seeds_can_share_experts(tmp_path, monkeypatch):
    made = count_recordings(monkeypatch)
    shared = SMALL.model_copy(update={"experts": SMALL.experts.model_copy(update={"seed": 4})})
    for seed in (0, 1):
        shared.build(context(tmp_path, seed=seed), Pixels())
    assert made == [0, 1]
    for seed in (0, 1):
        SMALL.build(context(tmp_path, seed=seed), Pixels())
    assert made == [0, 1, 0, 1, 0, 1]

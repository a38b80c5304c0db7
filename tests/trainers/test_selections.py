"""Picks of real images: herding and k-center against plain loops, forgetting against histories written by hand."""

import itertools
import math
import os
import signal

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers import selections
from dsetpack.trainers.context import Context
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Interrupted, Run, optimise
from dsetpack.trainers.selections import (
    FeatureNetwork,
    Forgetting,
    SelectionSettings,
    herding,
    k_center,
    most_forgotten,
    select,
)

IMAGE = (1, 8, 8)
SMALL = SelectionSettings(width=4, epochs=4, batch=8, lr=0.05)


def noise(per_class: int = 9, classes: int = 2) -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (per_class * classes, *IMAGE), generator=g, dtype=torch.uint8)
    return ImageData(x, torch.arange(len(x)) % classes, tuple("abcd"[:classes]), "noise")


def stripes(per_class: int = 12, strength: int = 40) -> ImageData:
    """Horizontal or vertical lines under growing noise, so that some images are easy and some are not."""
    g = torch.Generator().manual_seed(0)
    lines = torch.zeros(2 * per_class, 1, 16, 16)
    lines[::2, :, ::4] = lines[1::2, :, :, ::4] = strength
    x = (
        128
        + lines
        + 100 * torch.linspace(0, 1, 2 * per_class).view(-1, 1, 1, 1) * (torch.rand(lines.shape, generator=g) - 0.5)
    )
    return ImageData(x.clamp(0, 255).byte(), torch.arange(2 * per_class) % 2, ("lying", "standing"), "stripes")


def context(tmp_path, data=None, run=None, seed=0) -> Context:
    data = data or noise()
    return Context(data, Normalized.fit(data.images), 1, seed, tmp_path, run or (lambda phase: Run(name=phase)))


def features(count: int = 40, size: int = 6, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return shift + torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def slow_herding(x: np.ndarray, count: int) -> list[int]:
    """From the definition: try every image, keep the one whose set has the mean closest to the mean of all."""
    picks: list[int] = []
    for _ in range(count):
        left = [i for i in range(len(x)) if i not in picks]
        gaps = [math.dist(x[[*picks, i]].mean(0), x.mean(0)) for i in left]
        picks.append(left[int(np.argmin(gaps))])
    return picks


def slow_k_center(x: np.ndarray, count: int) -> list[int]:
    picks = [int(np.argmin([math.dist(row, x.mean(0)) for row in x]))]
    while len(picks) < count:
        left = [i for i in range(len(x)) if i not in picks]
        nearest = [min(math.dist(x[i], x[p]) for p in picks) for i in left]
        picks.append(left[int(np.argmax(nearest))])
    return picks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_herding_and_k_center_equal_plain_loops(seed, shift):
    x = features(seed=seed, shift=shift)
    assert herding(x, 40).tolist() == slow_herding(x.double().numpy(), 40)
    assert k_center(x, 40).tolist() == slow_k_center(x.double().numpy(), 40)
    assert herding(x, 3).tolist() == herding(x, 40)[:3].tolist()  # greedy: a longer selection begins with a shorter


def test_pieces_do_not_matter(monkeypatch):
    x = features(50)
    whole = herding(x, 20), k_center(x, 20)
    for wide in (10**9, 0):
        monkeypatch.setattr(selections, "ROWS", 7)
        monkeypatch.setattr(selections, "WIDE", wide)
        assert torch.equal(herding(x, 20), whole[0])
        assert torch.equal(k_center(x, 20), whole[1])


def test_first_picks_on_a_line():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])  # mean 3.2
    assert k_center(x, 4).tolist() == [3, 4, 0, 1]  # 3, the ends 10 and 0, then 1 (as far as 2: the first)
    assert herding(x, 2).tolist() == [3, 2]  # (3 + 2) / 2 is nearer to 3.2 than (3 + 10) / 2, and 3 is taken


def test_copies_are_picked_once_each():
    same = torch.ones(6, 3)
    assert sorted(herding(same, 6).tolist()) == list(range(6))
    assert sorted(k_center(same, 6).tolist()) == list(range(6))


def test_k_center_covers_better_and_herding_keeps_the_mean_better_than_chance():
    x = features(300, 2)
    chance = torch.randperm(300, generator=torch.Generator().manual_seed(1))[:10]

    def radius(picks):
        return float(torch.cdist(x, x[picks]).amin(1).max())

    def gap(picks):
        return float((x[picks].mean(0) - x.mean(0)).norm())

    assert radius(k_center(x, 10)) < 0.8 * radius(chance)
    assert gap(herding(x, 10)) < 0.1 * gap(chance)


def test_forgetting_against_a_history():
    """Columns are examples; rows say whether they were right each time they came up."""
    history = torch.tensor(
        [
            # always, never, learned late, forgotten once, twice, once and learned again
            [1, 0, 0, 1, 1, 0],
            [1, 0, 0, 1, 0, 1],
            [1, 0, 0, 0, 1, 0],
            [1, 0, 1, 0, 0, 1],
        ],
        dtype=torch.bool,
    )
    tracked = Forgetting(6)
    for row in history:  # in two batches, in another order
        for index in (torch.tensor([4, 0, 2]), torch.tensor([1, 5, 3])):
            tracked.update(index, row[index])
    assert tracked.counts().tolist() == [0, math.inf, 0, 1, 2, 1]
    assert most_forgotten(tracked.counts(), 6).tolist() == [1, 4, 3, 5, 0, 2]


def test_forgetting_needs_no_equal_numbers_of_looks():
    tracked = Forgetting(3)
    for index, correct in [([0], [1]), ([0], [0]), ([0, 1], [1, 1]), ([0], [0])]:
        tracked.update(torch.tensor(index), torch.tensor(correct, dtype=torch.bool))
    assert tracked.counts().tolist() == [2, 0, math.inf]


def replayed(data: ImageData, settings: SelectionSettings, seed: int) -> tuple[torch.nn.Module, list[float]]:
    """The network's training and what it forgets, in plain code."""
    space = Normalized.fit(data.images)
    work = FeatureNetwork(settings, data, space, seed)
    net = work.net
    schedule = settings.schedule(len(data))
    optimiser = torch.optim.SGD(net.parameters(), lr=settings.lr, momentum=settings.momentum)
    history: list[list[bool]] = [[] for _ in range(len(data))]
    for step in range(schedule.steps):
        optimiser.param_groups[0]["lr"] = settings.lr * (1 if step < schedule.steps / 2 else 0.1)
        index = work.batch(step)
        logits = net(space.apply(data.images[index].float() / 255))
        for i, row in zip(index.tolist(), logits, strict=True):
            history[i].append(int(row.argmax()) == int(data.labels[i]))
        optimiser.zero_grad()
        F.cross_entropy(logits, data.labels[index]).backward()
        optimiser.step()
    events = [sum(a and not b for a, b in itertools.pairwise(seen)) for seen in history]
    assert {len(seen) for seen in history} == {settings.epochs}  # every image once per epoch
    return net, [n if any(seen) else math.inf for n, seen in zip(events, history, strict=True)]


def test_forgetting_while_a_network_trains(tmp_path):
    data, settings = stripes(strength=10), SMALL.model_copy(update={"lr": 0.2, "epochs": 12})
    given = context(tmp_path, data)
    _, expected = replayed(data, settings, 0)
    assert len(set(expected)) >= 3  # the counts differ enough to rank images
    found = select("forgetting", given, 3, settings)
    for label in (0, 1):
        members = [i for i in range(len(data)) if data.labels[i] == label]
        best = sorted(members, key=lambda i: -expected[i])[:3]  # a stable sort
        assert found[3 * label : 3 * label + 3].tolist() == best


def test_features_are_those_of_the_trained_network(tmp_path):
    data = noise()
    given = context(tmp_path, data)
    net, _ = replayed(data, SMALL, 0)
    with torch.no_grad():
        x = net.eval().embed(given.space.apply(data.images.float() / 255))
    for rule, slow in (("herding", slow_herding), ("k-center", slow_k_center)):
        found = select(rule, given, 4, SMALL)
        for label in (0, 1):
            members = torch.nonzero(data.labels == label)[:, 0]
            expected = members[slow(x[members].double().numpy(), 4)]
            assert found[4 * label : 4 * label + 4].tolist() == expected.tolist()


@pytest.mark.parametrize("rule", ["random", "herding", "k-center", "forgetting"])
def test_select_is_balanced_and_repeats(tmp_path, rule):
    data, settings = stripes(strength=10), SMALL.model_copy(update={"lr": 0.2, "epochs": 6})
    given = context(tmp_path, data)
    found = select(rule, given, 5, settings)
    assert found.dtype == torch.int64
    assert data.labels[found].tolist() == [0] * 5 + [1] * 5
    assert len(set(found.tolist())) == 10
    assert torch.equal(select(rule, context(tmp_path, data), 5, settings), found)
    assert not torch.equal(select(rule, context(tmp_path, data, seed=1), 5, settings), found)
    x, y = selections.real_images(rule, given, 5, settings)
    assert torch.equal(x, given.space.apply(data.raw(found)))
    assert torch.equal(y, data.labels[found])


def test_the_network_learns():
    work = FeatureNetwork(SMALL, stripes(), Raw(), 0)
    last = optimise(work, SMALL.model_copy(update={"steps": 60}).schedule(24), seed=0)
    assert last["loss"] < 0.1
    assert work.features(torch.arange(5)).shape == (5, work.net.features)


def test_interrupted_and_resumed_selections_are_the_same(tmp_path):
    data = noise()
    straight = FeatureNetwork(SMALL, data, Raw(), 0)
    optimise(straight, SMALL.schedule(len(data)), seed=0)
    for stopped in (5, None):  # in the middle of epoch 2
        work = FeatureNetwork(SMALL, data, Raw(), 0)

        def stop(step, terms, stopped=stopped):
            if step == stopped:
                os.kill(os.getpid(), signal.SIGINT)

        run = Run(folder=tmp_path, name="select", resume=stopped is None, on_step=stop)
        if stopped is None:
            optimise(work, SMALL.schedule(len(data)), seed=0, run=run)
        else:
            with pytest.raises(Interrupted):
                optimise(work, SMALL.schedule(len(data)), seed=0, run=run)
    for name, value in straight.net.state_dict().items():
        assert torch.equal(value, work.net.state_dict()[name])
    assert torch.equal(straight.forgetting.counts(), work.forgetting.counts())
    again = FeatureNetwork(SMALL, data, Raw(), 0)  # a finished run is only read
    assert optimise(again, SMALL.schedule(len(data)), seed=0, run=run) == {}
    assert torch.equal(again.features(torch.arange(4)), straight.features(torch.arange(4)))


def test_refusals(tmp_path):
    given = context(tmp_path)
    with pytest.raises(FormatError, match="noise has 9 images of class 'a'; 10 to be picked by herding"):
        select("herding", given, 10, SMALL)
    with pytest.raises(FormatError, match="noise has 9 images of class 'a'; 10 asked for"):
        select("random", given, 10)
    with pytest.raises(FormatError, match="every image at least twice: 5 steps of 8 images, at least 6 expected"):
        select("forgetting", given, 1, SMALL.model_copy(update={"steps": 5}))
    with pytest.raises(FormatError, match="no network 'convnet'"):
        select("k-center", given, 1, SelectionSettings(network="convnet"))
    for pick in (herding, k_center):
        with pytest.raises(FormatError, match="0 of 40 images"):
            pick(features(), 0)
        with pytest.raises(FormatError, match="41 of 40 images"):
            pick(features(), 41)
        with pytest.raises(FormatError, match="expected floats"):
            pick(features().long(), 2)
    with pytest.raises(FormatError, match="3 of 2 images"):
        most_forgotten(torch.zeros(2), 3)

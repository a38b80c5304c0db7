"""Several networks trained in one pass equal those trained one by one."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.trainers import batched
from dsetpack.trainers.batched import batchable, faster_together, train_together, worthwhile
from dsetpack.trainers.networks import network, network_names
from dsetpack.training.train import train

IMAGE, CLASSES = (2, 8, 8), 3
ORDERS = (5, 11, 12)
ALL = Augmentation(ops=("color", "crop", "cutout", "flip", "scale", "rotate"))


class Shuffled:
    """Twenty images in float64, shuffled by the seed, in whole and incomplete batches."""

    def __init__(self, soft=False, centred=False, count=20):
        g = torch.Generator().manual_seed(0)
        self.y = torch.arange(count) % CLASSES
        self.x = torch.randn(count, *IMAGE, generator=g, dtype=torch.float64) + self.y.view(-1, 1, 1, 1)
        if soft or centred:
            self.y = torch.softmax(torch.randn(count, CLASSES, generator=g), 1).double()
            self.y = self.y - 1 / CLASSES if centred else self.y

    def loader(self, *, batch_size, seed, device):
        pack, epochs = self, itertools.count()

        class Loader:
            def __len__(self):
                return -(-len(pack.x) // batch_size)

            def __iter__(self):
                g = torch.Generator().manual_seed(1000 * seed + next(epochs))
                for part in torch.randperm(len(pack.x), generator=g).split(batch_size) if len(pack.x) else ():
                    yield pack.x[part], pack.y[part]

        return Loader()


def networks(name="convnet3", seeds=ORDERS, width=3):
    return [network(name, IMAGE, CLASSES, width, seed=seed).double() for seed in seeds]


def both(pack, recipe, augmentation=None, name="convnet3"):
    """The weights of networks trained one by one, and in one pass."""
    alone, together = networks(name), networks(name)
    for model, seed in zip(alone, ORDERS, strict=True):
        train(model, pack, recipe=recipe, augmentation=augmentation, seed=seed, device="cpu")
    train_together(together, pack, recipe=recipe, augmentation=augmentation, seeds=ORDERS, device="cpu")
    return alone, together


def assert_same(alone, together, tolerance=1e-9):
    for a, b in zip(alone, together, strict=True):
        for (name, p), (other, q) in zip(a.named_parameters(), b.named_parameters(), strict=True):
            assert name == other
            torch.testing.assert_close(p, q, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ("recipe", "labels", "augmentation"),
    [
        (Recipe(steps=6, batch_size=8, lr=0.1), {}, None),
        (Recipe(epochs=3, batch_size=8, lr=0.1, milestones=(0.5,), gamma=0.1), {}, ALL),
        (Recipe(steps=6, batch_size=8, lr=0.1, warmup=3, final=0.01, cutmix=0.5), {}, ALL),
        (Recipe(steps=6, batch_size=8, lr=0.1, cutmix=0.5), {"soft": True}, Augmentation(ops=("crop",), mode="all")),
        (Recipe(steps=6, batch_size=8, lr=0.02, loss="mse", cutmix=1.0), {"centred": True}, None),
        (Recipe(steps=6, batch_size=8, lr=0.02, loss="mse"), {}, ALL),
        (Recipe(steps=6, batch_size=8, lr=1e-3, optimizer="adam", weight_decay=0.01), {}, ALL),
    ],
)
def test_the_weights_are_those_of_training_one_by_one(recipe, labels, augmentation):
    alone, together = both(Shuffled(**labels), recipe, augmentation)
    assert_same(alone, together)
    moved = [(p - q).detach() for p, q in zip(together[0].parameters(), networks()[0].parameters(), strict=True)]
    assert max(float(d.abs().max()) for d in moved) > 1e-3
    assert not torch.allclose(together[0].head.weight, together[1].head.weight)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "frepo3-nonorm"])
def test_other_networks_without_state(name):
    image = {"vgg11": (2, 32, 32)}.get(name, IMAGE)
    models = [network(name, image, CLASSES, 2, seed=seed) for seed in ORDERS]
    assert batchable(models)
    x = torch.randn(3, 4, *image)
    with batched._stacked(models, torch.device("cpu")) as (_, forward):
        logits = forward(x)
    for model, images, found in zip(models, x, logits, strict=True):
        torch.testing.assert_close(model(images), found, atol=1e-5, rtol=1e-4)


def test_what_keeps_state_or_draws_numbers_is_not_batched():
    for name in network_names():
        if name in ("densenet121", "efficientnet-b0"):
            continue
        models = [network(name, (1, 32, 32), 3, 4, seed=seed) for seed in range(2)]
        stateless = not any(isinstance(m, nn.BatchNorm2d) for m in models[0].modules())
        assert batchable(models) is stateless
    plain = [nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(2)]
    assert batchable(plain)
    assert not batchable([plain[0], nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))])
    assert not batchable([nn.Sequential(*plain[0], nn.Dropout(0.5)) for _ in range(2)])
    assert not batchable([type("Own", (nn.Sequential,), {})(*plain[0]) for _ in range(2)])
    plain[1][1].bias.requires_grad_(False)
    assert not batchable(plain)


def test_models_are_seen_as_they_stand_and_own_their_memory_afterwards():
    models, pack, recipe = networks(), Shuffled(), Recipe(steps=4, batch_size=8)
    seen = []
    models[0].eval()
    train_together(
        models,
        pack,
        recipe=recipe,
        augmentation=None,
        seeds=ORDERS,
        device="cpu",
        after=lambda done, total: seen.append((done, total, models[1].head.weight.detach().clone())),
    )
    assert [(done, total) for done, total, _ in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(seen[-1][2], models[1].head.weight)
    assert not torch.equal(seen[0][2], seen[1][2])
    assert [model.training for model in models] == [False, True, True]
    for model in models:
        for p in model.parameters():
            assert p.untyped_storage().nbytes() == p.numel() * p.element_size()
            assert p.requires_grad


def test_report_progress_and_random_state():
    models, recipe, calls = networks(), Recipe(steps=30, batch_size=8), []
    state = torch.get_rng_state()
    report = train_together(
        models,
        Shuffled(),
        recipe=recipe,
        augmentation=ALL,
        seeds=ORDERS,
        device="cpu",
        progress=lambda *a: calls.append(a),
    )
    losses = []
    for model, seed in zip(networks(), ORDERS, strict=True):
        losses.append(train(model, Shuffled(), recipe=recipe, augmentation=ALL, seed=seed, device="cpu")["loss"])
    assert report["loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert report["steps"] == 30
    assert [call[:2] for call in calls] == [(25, 30), (30, 30)]
    assert torch.equal(torch.get_rng_state(), state)


def test_mistakes_are_those_of_training_one():
    one = {"recipe": Recipe(steps=2, batch_size=8), "augmentation": None, "seeds": ORDERS, "device": "cpu"}
    with pytest.raises(FormatError, match="'mse'"):
        train_together(networks(), Shuffled(centred=True), **one)
    with pytest.raises(FormatError, match="no batches"):
        train_together(networks(), Shuffled(count=0), **one)
    broken = networks()
    broken[2].head.bias.data[:] = float("nan")
    with pytest.raises(DsetpackError, match=r"nan at step 0 "):
        train_together(broken, Shuffled(), **one)
    with pytest.raises(DsetpackError, match="lower recipe.lr"):
        train_together(networks(), Shuffled(), **one | {"recipe": Recipe(steps=40, lr=1e30, loss="mse")})


def test_the_choice_is_never_on_a_cpu_and_else_what_is_faster(monkeypatch):
    models, recipe = networks(), Recipe(steps=2, batch_size=8)
    before = copy.deepcopy(models[0].state_dict())
    given = (models, IMAGE, CLASSES, 4, recipe)
    assert not worthwhile(*given, torch.device("cpu"))
    seconds = iter([1.0, 2.0, 2.0, 1.0])
    monkeypatch.setattr(batched, "_seconds", lambda step, device: (step(), next(seconds))[1])
    models = [model.float() for model in models]
    assert faster_together(*given, torch.device("cpu"))
    assert not faster_together(*given, torch.device("cpu"))
    assert all(torch.equal(p, before[name].float()) for name, p in models[0].state_dict().items())  # copies were tried
    monkeypatch.setattr(batched, "faster_together", lambda *a: True)
    assert worthwhile(*given, torch.device("meta"))
    assert not worthwhile(models[:1], *given[1:], torch.device("meta"))
    assert not worthwhile([network("resnet10", IMAGE, 3, 2, seed=s) for s in (0, 1)], *given[1:], torch.device("meta"))


def test_a_trial_that_does_not_fit_into_memory_is_lost(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(batched, "faster_together", full)
    assert not worthwhile(networks(), IMAGE, CLASSES, 4, Recipe(steps=1), torch.device("meta"))


def test_the_clock_takes_the_second_call():
    calls = []
    assert batched._seconds(lambda: calls.append(0), torch.device("cpu")) < 1
    assert len(calls) == 2


@pytest.mark.gpu
def test_on_a_gpu_too():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pack, recipe = Shuffled(), Recipe(steps=5, batch_size=8, lr=0.1)
    alone, together = networks(), networks()
    for model, seed in zip(alone, ORDERS, strict=True):
        train(model, pack, recipe=recipe, augmentation=ALL, seed=seed, device="cuda")
    train_together(together, pack, recipe=recipe, augmentation=ALL, seeds=ORDERS, device="cuda")
    assert_same(alone, together, 1e-8)
    assert worthwhile([m.float() for m in together], IMAGE, CLASSES, 8, recipe, torch.device("cuda")) in (True, False)

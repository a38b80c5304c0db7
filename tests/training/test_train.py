"""Training by the recipe, on tiny loaders whose results can be computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.training.train import CHECK_EVERY, learning_rates
from tests.support.tiny_training import Pack, data, net, run


def test_sgd_follows_the_formula():
    x, y = data()
    model, twin = net(), net()
    batches = [(x[:5], y[:5]), (x[5:], y[5:])]
    recipe = Recipe(lr=0.1, momentum=0.9, weight_decay=0.01, epochs=3, milestones=(0.5,), gamma=0.1, batch_size=5)
    pack = Pack(batches)
    report = run(model, pack, recipe)
    velocity = [torch.zeros_like(p) for p in twin.parameters()]
    losses = []
    for step in range(6):
        images, labels = batches[step % 2]
        loss = -torch.log_softmax(twin(images), 1)[torch.arange(len(labels)), labels].mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        for p, v, g in zip(twin.parameters(), velocity, gradients, strict=True):
            v.mul_(0.9).add_(g + 0.01 * p.detach())
            p.data -= (0.1 if step < 3 else 0.01) * v
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert report["loss"] == pytest.approx(sum(losses) / 6, rel=1e-5)
    assert report["steps"] == 6
    assert report["seconds"] > 0
    assert pack.asked == (5, 0, torch.device("cpu"))
    assert pack.made.epochs == 3


def test_adam():
    x, y = data()
    model, twin = net(), net()
    run(model, Pack([(x, y)]), Recipe(optimizer="adam", lr=0.02, weight_decay=0, steps=2))
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(model[1].weight, twin[1].weight)


@pytest.mark.parametrize(
    ("milestones", "total", "drops"),
    [
        ((), 5, []),
        ((0.5,), 10, [5]),
        ((133 / 200, 166 / 200), 1200, [798, 996]),
        ((2 / 3, 5 / 6), 300, [200, 250]),
        ((0.1,), 3, [0]),
    ],
)
def test_milestones_are_shares_of_all_steps(milestones, total, drops):
    rates = list(learning_rates(Recipe(lr=1.0, gamma=0.2, epochs=1, milestones=milestones), total))
    assert len(rates) == total
    for step, rate in enumerate(rates):
        assert rate == pytest.approx(0.2 ** sum(step >= d for d in drops))


def test_warm_up_and_cosine_are_the_closed_form():
    """FRePo's evaluation: a line from 0 over 500 steps, then half a cosine to 1% over the rest."""
    rates = list(learning_rates(Recipe(lr=3e-4, steps=2000, warmup=500, final=0.01), 2000))
    for step, rate in enumerate(rates):
        expected = (
            3e-4 * step / 500 if step < 500 else 3e-4 * (0.01 + 0.99 * math.cos(math.pi * (step - 500) / 3000) ** 2)
        )
        assert rate == pytest.approx(expected, rel=1e-12)
    assert rates[0] == 0
    assert rates[500] == max(rates) == 3e-4
    assert rates[1250] == pytest.approx(3e-4 * 0.505)  # half way between 1 and 1%
    torch_way = torch.optim.SGD([torch.zeros(1)], lr=3e-6)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(torch_way, 10, eta_min=3e-8)
    for rate in learning_rates(Recipe(lr=3e-6, steps=10, final=0.01), 10):
        assert rate == pytest.approx(torch_way.param_groups[0]["lr"], rel=1e-9)
        torch_way.step()
        cosine.step()


def test_a_schedule_of_all_three_and_none():
    mixed = list(learning_rates(Recipe(lr=2.0, steps=8, warmup=2, final=0.5, milestones=(0.5,), gamma=0.1), 8))
    fall = [0.75 + 0.25 * math.cos(math.pi * k / 6) for k in range(6)]
    assert mixed == pytest.approx([0, 1, *(2 * f for f in fall[:2]), *(0.2 * f for f in fall[2:])])
    assert list(learning_rates(Recipe(lr=0.1, steps=3), 3)) == [0.1] * 3
    assert list(learning_rates(Recipe(lr=1, steps=9, warmup=9, final=0), 4)) == pytest.approx([0, 1 / 9, 2 / 9, 3 / 9])


def test_a_device_that_is_not_there_is_named_before_any_work():
    pack = Pack([data()])
    with pytest.raises(DsetpackError, match="device 'processor' cannot be used here"):
        run(net(), pack, Recipe(steps=1), device="processor")
    assert pack.asked is None


def test_steps_override_the_length_and_start_new_epochs():
    pack = Pack([data()] * 3)
    assert run(net(), pack, Recipe(epochs=100), steps=7)["steps"] == 7
    assert pack.made.epochs == 3
    assert run(net(), Pack([data()] * 3), Recipe(steps=4))["steps"] == 4


def test_losses():
    x, _ = data()
    soft = torch.softmax(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), 1)
    centred = soft - soft.mean(1, keepdim=True)
    hard = soft.argmax(1)
    logits = net()(x).detach()
    one_hot = torch.eye(3)[hard]
    expected = {
        ("cross_entropy", soft): -(soft * torch.log_softmax(logits, 1)).sum(1).mean(),
        ("cross_entropy", hard): -(one_hot * torch.log_softmax(logits, 1)).sum(1).mean(),
        ("mse", centred): ((logits - centred) ** 2).sum(1).mean() / 2,
        ("mse", hard): ((logits - one_hot) ** 2).sum(1).mean() / 2,
    }
    for (kind, y), value in expected.items():
        report = run(net(), Pack([(x, y)]), Recipe(loss=kind, steps=1))
        assert report["loss"] == pytest.approx(value.item(), rel=1e-5)


def test_learns():
    pack = Pack([data(24)])
    model = net()
    report = run(model, pack, Recipe(lr=0.1, epochs=200))
    assert report["loss"] < 0.1
    x, y = data(24, seed=1)
    assert (model(x).argmax(1) == y).float().mean() > 0.95


def test_the_seed_decides_everything_and_the_callers_random_state_stays():
    spec = Augmentation(ops=("color", "crop", "flip"))
    x, y = data()

    def weights(seed, noise):
        torch.manual_seed(noise)
        model = nn.Sequential(net(), nn.Dropout(0.5), nn.ReLU(), nn.Linear(3, 3, bias=False))
        nn.init.ones_(model[3].weight)
        state = torch.get_rng_state()
        run(model, Pack([(x, y)] * 4), Recipe(epochs=2), spec, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return model[0][1].weight.detach()

    assert torch.equal(weights(1, noise=5), weights(1, noise=6))
    assert not torch.equal(weights(1, noise=5), weights(2, noise=5))


def test_augmentation_is_applied_and_differs_between_batches():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x.flatten(1))

    x, y = data()
    batch = x[:1].expand(8, -1, -1, -1)
    run(Spy(16, 3), Pack([(batch, y)]), Recipe(steps=3), Augmentation(ops=("crop",), crop=0.5))
    assert len({t.numpy().tobytes() for t in seen}) == 3
    assert len({t.numpy().tobytes() for t in seen[0]}) > 1
    seen.clear()
    run(Spy(16, 3), Pack([(batch, y)]), Recipe(steps=1))
    assert torch.equal(seen[0], batch)


@pytest.mark.parametrize("mode", [True, False])
def test_the_models_mode_is_put_back(mode):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3)).train(mode)
    before = model[2].running_mean.clone()
    run(model, Pack([data()]), Recipe(steps=1))
    assert model.training is mode
    assert not torch.equal(model[2].running_mean, before)
    with pytest.raises(FormatError):
        run(model, Pack([]), Recipe(steps=1))
    assert model.training is mode


@pytest.mark.parametrize("bad", [0, 3, CHECK_EVERY - 1, CHECK_EVERY, CHECK_EVERY + 4])
def test_nan_names_the_step(bad):
    x, y = data()
    batches = [(x, y)] * bad + [(x * float("nan"), y)] + [(x, y)] * 40
    with pytest.raises(DsetpackError, match=rf"nan at step {bad} "):
        run(net(), Pack(batches), Recipe(epochs=1))


def test_divergence_is_seen():
    x, y = data()
    with pytest.raises(DsetpackError, match=r"lower recipe\.lr"):
        run(net(), Pack([(x * 1e20, y)]), Recipe(lr=1e30, loss="mse", steps=100))
    with pytest.raises(DsetpackError, match="weights that are not finite"):
        run(net(), Pack([(x * 1e18, y)]), Recipe(lr=1e38, loss="cross_entropy", steps=1))


def test_progress_reports_seldom_and_at_the_end():
    calls = []
    total = 2 * CHECK_EVERY + 3
    report = run(net(), Pack([data()]), Recipe(steps=total), progress=lambda *a: calls.append(a))
    assert [c[:2] for c in calls] == [(CHECK_EVERY, total), (2 * CHECK_EVERY, total), (total, total)]
    assert all(math.isfinite(c[2]) for c in calls)
    assert report["loss"] == calls[-1][2]


def test_after_every_step_the_model_can_be_looked_at():
    model, seen = net(), []
    run(model, Pack([data()]), Recipe(steps=3, lr=0.1), after=lambda *a: seen.append((*a, model[1].weight.clone())))
    assert [look[:2] for look in seen] == [(1, 3), (2, 3), (3, 3)]
    for done, _, weight in seen:
        shorter = net()
        run(shorter, Pack([data()]), Recipe(steps=done, lr=0.1))
        assert torch.equal(weight, shorter[1].weight)


def test_labels_that_do_not_fit():
    x, y = data()
    centred = torch.eye(3)[y] - 1 / 3
    with pytest.raises(FormatError, match="'mse'"):
        run(net(), Pack([(x, centred)]), Recipe(steps=1))
    with pytest.raises(FormatError, match="3 outputs"):
        run(net(), Pack([(x, y + 1)]), Recipe(steps=1))
    with pytest.raises(FormatError, match="soft labels are"):
        run(net(), Pack([(x, torch.ones(8, 4) / 4)]), Recipe(steps=1))


def test_loaders_that_do_not_fit():
    with pytest.raises(FormatError, match="no batches"):
        run(net(), Pack([]), Recipe(epochs=1))
    with pytest.raises(FormatError, match="no batches"):
        run(net(), Pack([]), Recipe(steps=1))
    with pytest.raises(FormatError, match="no length"):
        run(net(), Pack([data()], sized=False), Recipe(epochs=1))
    with pytest.raises(FormatError, match="at least 1"):
        run(net(), Pack([data()]), Recipe(epochs=1), steps=0)

"""CutMix: the cut and the mix of the paper, and training with them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dsetpack.formats.card import Augmentation, Recipe
from dsetpack.training.augment import Dsa
from dsetpack.training.cutmix import draw_mix, interval
from tests.support.tiny_training import Pack, data, net, run


@pytest.mark.parametrize(("height", "width"), [(32, 32), (7, 10)])
def test_the_cut_of_cutmix_is_that_of_the_paper(height, width):
    """Equation 2: sides sqrt(1 - λ) of the image's around a centre; λ is then the share that is left."""
    for share in (0.0, 0.19, 0.5, 0.75, 0.96, 1.0):
        cut = {side: side * math.sqrt(1 - share) for side in (height, width)}
        for row, column in ((0, 0), (height // 2, width // 2), (height - 1, 1)):
            for side, centre in ((height, row), (width, column)):
                found = interval(side, share, centre)
                half = math.floor(math.floor(cut[side]) / 2)
                inside = [p for p in range(side) if centre - half <= p < centre + half]
                assert list(range(side))[found] == inside
    whole = interval(32, 0.75, 16)
    assert (whole.start, whole.stop) == (8, 24)  # a quarter of the area is cut


def mixes(n, seed=0, probability=1.0, shape=(6, 1, 16, 20)):
    g = torch.Generator().manual_seed(seed)
    return [draw_mix(probability, torch.zeros(shape), g) for _ in range(n)]


def test_a_mix_follows_equation_1():
    x = torch.rand(6, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    hard = torch.tensor([0, 1, 2, 0, 1, 2])
    soft = torch.softmax(torch.randn(6, 3, generator=torch.Generator().manual_seed(2)), 1)
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    kept = x.clone()
    for mix in mixes(20, shape=x.shape):
        mask = torch.ones(9, 9)
        mask[mix.rows, mix.columns] = 0
        assert mix.kept == pytest.approx(mask.mean().item())
        assert mix.partner.sort().values.tolist() == list(range(6))
        assert torch.equal(mix.images(x), mask * x + (1 - mask) * x[mix.partner])
        for y, rows in ((hard, torch.eye(3)[hard]), (soft, soft)):
            expected = mix.kept * rows + (1 - mix.kept) * rows[mix.partner]
            torch.testing.assert_close(mix.labels(y, 3), expected)
        both = [nn.functional.cross_entropy(logits, y) for y in (hard, hard[mix.partner])]
        released = both[0] * mix.kept + both[1] * (1 - mix.kept)  # as the released codes compute it
        torch.testing.assert_close(nn.functional.cross_entropy(logits, mix.labels(hard, 3)), released)
    assert torch.equal(x, kept)


def test_the_draws_of_cutmix():
    found = mixes(2000, shape=(2, 1, 64, 64))
    middle = [m for m in found if m.rows.start > 0 and m.columns.start > 0 and m.rows.stop < 64 and m.columns.stop < 64]
    assert len({(m.rows.start, m.columns.start) for m in middle}) > 100
    rng = torch.Generator().manual_seed(5)
    expected = []  # the same by the paper's formulas on the continuous square
    for share, row, column in torch.rand(20000, 3, generator=rng).tolist():
        half = math.sqrt(1 - share) / 2
        sides = [min(at + half, 1) - max(at - half, 0) for at in (row, column)]
        expected.append(1 - sides[0] * sides[1])
    mean = sum(m.kept for m in found) / len(found)
    assert mean == pytest.approx(sum(expected) / len(expected), abs=0.02)
    assert sum(m is not None for m in mixes(2000, probability=0.3)) == pytest.approx(600, abs=80)
    g = torch.Generator().manual_seed(0)
    before = g.get_state()
    assert draw_mix(0.0, torch.zeros(2, 1, 4, 4), g) is None
    assert torch.equal(g.get_state(), before)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("soft", [False, True])
def test_training_with_cutmix_depends_on_the_seed_alone(loss, soft):
    x, y = data()
    y = torch.eye(3)[y] if soft else y

    def weights(seed, cutmix):
        model = net()
        run(model, Pack([(x, y)] * 4), Recipe(epochs=2, loss=loss, cutmix=cutmix), seed=seed)
        return model[1].weight.detach()

    assert torch.equal(weights(1, 0.5), weights(1, 0.5))
    assert not torch.equal(weights(1, 0.5), weights(2, 0.5))
    assert torch.equal(weights(1, 0.0), weights(2, 0.0))
    assert not torch.equal(weights(1, 1.0), weights(1, 0.0))


def test_cutmix_comes_after_augmentation_and_its_loss_is_the_mixed_one():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x.flatten(1))

    x, y = data()
    spec, model = Augmentation(ops=("color",)), Spy(16, 3)
    report = run(model, Pack([(x, y)]), Recipe(steps=1, cutmix=1.0, lr=1e-12), spec, seed=4)
    g = torch.Generator().manual_seed(4)
    augmented = Dsa(spec)(x, g)
    mix = draw_mix(1.0, augmented, g)
    assert torch.equal(seen[0], mix.images(augmented))
    expected = nn.functional.cross_entropy(model(mix.images(augmented)), mix.labels(y, 3))
    assert report["loss"] == pytest.approx(expected.item(), rel=1e-5)

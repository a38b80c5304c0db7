"""ISA against quadrature, direct sums and FRePo."""

import math

import numpy as np
import pytest
import torch

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.loop import Schedule, optimise
from dsetpack.trainers.objectives import frepo, isa
from tests.support.frepo_cases import CLASSES, SMALL, built, features, same


@pytest.mark.parametrize("epsilon", [1e-3, 0.4, 1.0])
def test_equation_7_is_the_integral(epsilon):
    z, other, weights = features(6, 5), features(6, 5, seed=1), features(5, 3, seed=2)
    y, other_y = features(6, 3, seed=3), features(6, 3, seed=4)
    nodes, shares = np.polynomial.legendre.leggauss(8)
    expected = torch.zeros(6, dtype=torch.float64)
    for node, share in zip(nodes, shares, strict=True):
        alpha = epsilon * (node + 1) / 2
        between = (z + alpha * (other - z)) @ weights - (y + alpha * (other_y - y))  # Eq. 6
        expected += share / 2 * between.square().sum(1)
    a = z @ weights - y
    b = (other - z) @ weights - (other_y - y)
    assert torch.allclose(isa.interpolation_loss(a, b, epsilon), expected, rtol=1e-10, atol=0)
    assert torch.allclose(isa.interpolation_loss(a, b, epsilon, half=True), expected / 2, rtol=1e-10, atol=0)
    assert torch.equal(isa.interpolation_loss(a, b, 0.0), a.square().sum(1))


def test_the_easiest_samples_are_dropped():
    losses = torch.tensor([3.0, 1.0, 1.0, 5.0, 0.5, 1.0])
    assert isa.crucial(losses, 0).tolist() == [0, 1, 2, 3, 4, 5]
    assert isa.crucial(losses, 0.3).tolist() == [0, 1, 2, 3, 5]  # floor(1.8)
    assert isa.crucial(losses, 0.5).tolist() == [0, 3, 5]  # among equal losses the earlier ones are dropped
    assert isa.crucial(losses, 0.999).tolist() == [3]
    assert len(isa.crucial(torch.rand(1024), 0.2)) == 1024 - 204
    assert len(isa.crucial(torch.rand(100), 0.29)) == 71  # 0.29 * 100 < 29 in floating point
    assert isa.crucial(torch.tensor([1.0, math.nan, 2.0]), 0.7).tolist() == [1]
    for bad in (1.0, -0.1):
        with pytest.raises(FormatError, match="expected"):
            isa.crucial(losses, bad)


def test_isa_is_equation_7_over_the_hardest_samples():
    work = built(isa.FrepoIsaSettings(**SMALL, isa=isa.IsaSettings(drop=0.4, epsilon=0.5)))
    residuals = features(10, CLASSES)
    loss = 0.5 * residuals.square().sum(1)
    kept = sorted(range(10), key=lambda n: -loss[n])[:6]
    kept = [residuals[n] for n in sorted(kept)]
    expected = 0.0
    for n, a in enumerate(kept):
        b = kept[(n + 1) % 6] - a
        expected += 0.5 * float(a @ a + 0.5 * a @ b + 0.25 / 3 * b @ b) / 6
    assert work.objective.outer(residuals).item() == pytest.approx(expected, rel=1e-12)
    unhalved = isa.IsaSettings(drop=0.4, epsilon=0.5, half=False)
    other = built(isa.FrepoIsaSettings(**SMALL, isa=unhalved))
    assert other.objective.outer(residuals).item() == pytest.approx(2 * expected, rel=1e-12)


def test_isa_without_drop_and_epsilon_is_frepo_bit_for_bit():
    plain = built(frepo.FrepoSettings(**SMALL))
    same_way, changed = (
        built(isa.FrepoIsaSettings(**SMALL, isa=isa.IsaSettings(drop=drop, epsilon=epsilon)))
        for drop, epsilon in ((0, 0), (0.2, 1))
    )
    schedule = Schedule(steps=6, optimizer="lamb")
    terms = [optimise(work, schedule, seed=1) for work in (plain, same_way, changed)]
    assert terms[0] == terms[1]
    assert same(plain.state_dict(), same_way.state_dict())
    assert terms[0] != terms[2]


def test_isas_defaults_are_the_papers():
    settings = isa.FrepoIsaSettings()
    assert (settings.name, settings.isa.drop, settings.isa.epsilon, settings.pool) == ("isa", 0.2, 1.0, 10)
    assert (frepo.FrepoSettings().name, frepo.FrepoSettings().refuses.keys()) == ("frepo", settings.refuses.keys())


def test_isa_on_dm():
    real, centre = features(10, 4), features(4, seed=1)
    far = sorted(range(10), key=lambda n: -float((real[n] - centre).square().sum()))[:7]
    assert torch.allclose(isa.crucial_mean(real, centre, 0.3), real[far].mean(0))
    assert torch.allclose(isa.crucial_mean(real, centre, 0), real.mean(0))
    # why DM has no epsilon: interpolating between a class's samples does not change the gradient
    centre.requires_grad_()
    steps = -(real.roll(-1, 0) - real)
    pulls = []
    for epsilon in (0.0, 1.0):
        loss = isa.interpolation_loss(centre - real, steps, epsilon).mean()
        pulls.append(torch.autograd.grad(loss, centre)[0])
    assert torch.allclose(*pulls, rtol=1e-12)
    assert torch.allclose(pulls[0], 2 * (centre - real.mean(0)), rtol=1e-12)

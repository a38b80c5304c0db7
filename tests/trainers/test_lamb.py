"""LAMB against a plain implementation in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dsetpack.trainers.lamb import Lamb


def test_lamb_is_the_papers_algorithm():
    rng = np.random.default_rng(0)
    start = [rng.normal(size=(3, 4)), rng.normal(size=5), np.zeros(2)]
    params = [nn.Parameter(torch.tensor(w)) for w in start]
    lamb = Lamb([{"params": params[:2], "lr": 0.1}, {"params": params[2:], "lr": 0.02}], betas=(0.8, 0.95), eps=1e-6)
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in start]
    for step in range(1, 6):
        for n, (w, lr) in enumerate(zip(start, (0.1, 0.1, 0.02), strict=True)):
            grad = rng.normal(size=w.shape)
            params[n].grad = torch.tensor(grad)
            m, v = moments[n]
            m, v = 0.8 * m + 0.2 * grad, 0.95 * v + 0.05 * grad**2
            moments[n] = m, v
            u = (m / (1 - 0.8**step)) / (np.sqrt(v / (1 - 0.95**step)) + 1e-6)
            size = math.sqrt((w**2).sum())
            start[n] = w - lr * (size / math.sqrt((u**2).sum()) if size else 1.0) * u
        lamb.step()
        for w, p in zip(start, params, strict=True):
            assert np.allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-14)


def test_lamb_moves_by_a_share_of_the_norm():
    p = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    lamb = Lamb([p], lr=0.01)
    p.grad = torch.tensor([1e-3, -7.0], dtype=torch.float64)
    before = p.detach().clone()
    lamb.step()
    assert (p.detach() - before).norm().item() == pytest.approx(0.01 * 5)
    lamb.zero_grad()
    lamb.step()  # nothing to do without gradients
    zero = nn.Parameter(torch.ones(2))
    zero.grad = torch.zeros(2)
    Lamb([zero], lr=0.1).step()
    assert zero.tolist() == [1, 1]

"""Kernel ridge regression against numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dsetpack.formats.errors import FormatError
from dsetpack.trainers.krr import KrrPredictor, centred, krr_predict


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("scale", "share"), [("mean", 1 / 6), ("trace", 1)])
def test_predictions_are_those_of_numpy(scale, share):
    s, y, t = features(6, 9), features(6, 3, seed=1), features(4, 9, seed=2)
    k = s.numpy() @ s.numpy().T
    expected = t.numpy() @ s.numpy().T @ np.linalg.solve(k + 1e-2 * np.trace(k) * share * np.eye(6), y.numpy())
    assert np.allclose(krr_predict(s, y, t, 1e-2, scale), expected, rtol=1e-10, atol=1e-12)


def test_predictions_differentiate():
    s, y, t = features(4, 5), features(4, 2, seed=1), features(3, 5, seed=2)
    inputs = [v.requires_grad_() for v in (s, y, t)]
    assert torch.autograd.gradcheck(lambda a, b, c: krr_predict(a, b, c, 1e-2), inputs)


def test_single_precision_features_of_a_singular_kernel():
    """More images than features, one direction dominant: rounding alone would outweigh the ridge in float32."""
    s = (features(300, 40) * 0.01 + 5).float()
    y, t = features(300, 2, seed=1), (features(8, 40, seed=2) * 0.01 + 5).float()
    wide = s.double().numpy()
    k = wide @ wide.T
    single = (s @ s.T).numpy() + np.float32(1e-6 * np.trace(k) / 300) * np.eye(300, dtype=np.float32)
    assert np.linalg.eigvalsh(single.astype(np.float64)).min() < 0
    # the same predictor by the other normal equations, 40 × 40
    weights = np.linalg.solve(wide.T @ wide + 1e-6 * np.trace(k) / 300 * np.eye(40), wide.T @ y.numpy())
    assert np.allclose(krr_predict(s, y, t), t.double().numpy() @ weights, rtol=1e-5, atol=1e-6)


def test_a_kernel_without_solution_gives_nan():
    assert krr_predict(torch.zeros(3, 4), torch.eye(3), torch.ones(2, 4)).isnan().all()
    assert krr_predict(torch.full((3, 4), torch.nan), torch.eye(3), torch.ones(2, 4)).isnan().all()
    with pytest.raises(FormatError, match=r"features \[3, 4\] and targets \[2, 2\]"):
        KrrPredictor(torch.ones(3, 4), torch.ones(2, 2))


def test_labels_are_centred():
    assert centred(torch.tensor([1, 0]), 4).tolist() == [[-0.25, 0.75, -0.25, -0.25], [0.75, -0.25, -0.25, -0.25]]

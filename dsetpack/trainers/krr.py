"""Kernel ridge regression on features: the predictor that FRePo and ISA learn a set for (Zhou et al. 2022; ISA Eq. 4).

    prediction(x) = f(x) f(S)ᵀ (f(S) f(S)ᵀ + λI)⁻¹ Y,    λ = ridge · tr(f(S) f(S)ᵀ) / N

where S are the N synthetic images, Y their labels and f a network's features, without a bias.

The kernel and its Cholesky factor are in double precision, even if the features are not: λ is 10⁻⁶ of the mean
eigenvalue, and the largest may be N times the mean, so rounding the kernel to float32 can outweigh λ and make it
indefinite. The regression is solved for one vector of weights per class (features × classes). So predicting is one
small product, and the kernel between real and synthetic images is never computed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dsetpack.formats.errors import FormatError

Scale = Literal["mean", "trace"]
"""λ is ``ridge`` times the mean of the kernel's diagonal (FRePo's code) or times its sum (ISA as written)."""
RIDGE = 1e-6


class KrrPredictor:
    """A regression that is fitted to a synthetic set once and predicts any number of batches.

    Predictions are differentiable in all inputs. If the kernel is not positive definite (features that are NaN,
    infinite or all 0), they are NaN: an exception would have to wait for the GPU, and an optimiser checks its loss
    anyway.

    Args:
        features: the synthetic images' features, float [N, F].
        targets: their labels, float [N, classes]; FRePo's are centred.
        ridge: the regularisation relative to the kernel's diagonal.
        scale: whether that means the diagonal's mean or its sum.

    Attributes:
        weights: float64 [F, classes]: predictions are ``features @ weights``.

    Raises:
        FormatError: if shapes are not as described.
    """

    def __init__(self, features: Tensor, targets: Tensor, ridge: float = RIDGE, scale: Scale = "mean") -> None:
        if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
            raise FormatError(
                f"features {list(features.shape)} and targets {list(targets.shape)}; expected [N, F] and [N, classes]"
            )
        wide = features.double()
        kernel = wide @ wide.T
        trace = kernel.diagonal().sum()
        amount = ridge * (trace / len(kernel) if scale == "mean" else trace)
        factor, failed = torch.linalg.cholesky_ex(
            kernel + amount * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
        )
        sound = factor.where(failed == 0, torch.nan)
        self.weights: Tensor = wide.T @ torch.cholesky_solve(targets.double(), sound)

    def __call__(self, features: Tensor) -> Tensor:
        """Predictions float64 [B, classes] for features float [B, F]."""
        return features.double() @ self.weights


def krr_predict(
    features_s: Tensor, y_s: Tensor, features_t: Tensor, ridge: float = RIDGE, scale: Scale = "mean"
) -> Tensor:
    """Predict float64 [B, classes] for ``features_t`` from the synthetic ``features_s`` and ``y_s``.

    Args:
        features_s: float [N, F].
        y_s: float [N, classes].
        features_t: float [B, F].
        ridge, scale: as for ``KrrPredictor``.
    """
    return KrrPredictor(features_s, y_s, ridge, scale)(features_t)


def centred(labels: Tensor, classes: int) -> Tensor:
    """FRePo's regression targets: one-hot minus 1 / classes; float64 [n, classes] from int64 [n]."""
    return torch.nn.functional.one_hot(labels, classes).double() - 1 / classes

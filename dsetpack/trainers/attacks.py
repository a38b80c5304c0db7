"""Membership inference attacks, which guess from a network's answers about an image whether it was trained on.

These are the five black-box attacks of ISA's table 5 and FRePo, which come from TensorFlow Privacy: a threshold on the
loss, and four classifiers on ground-truth label, prediction and loss: logistic regression, a random forest, k nearest
neighbours and a multi-layer perceptron, from scikit-learn (the extra ``audit``). As in TensorFlow Privacy, each
classifier's settings are chosen by threefold cross-validation on the examples that the attacker may learn from; here by
AUC rather than by accuracy, from a part of that grid, and on features scaled to unit variance (inferred).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.spaces import Space
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.seeds import derive

Attack = Literal["threshold", "lr", "mlp", "rf", "knn"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
"""All attacks, in the order of ISA's table 5."""
BATCH = 500
FOLDS = 3
LEAST = 20
"""The smallest number of members and of non-members: half of them train the attacker, and those are divided again."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """A network's answers about some images.

    Attributes:
        features: float64 [N, 2 classes + 1]: the label as one-hot, the probability of each class, the loss.
        loss: float64 [N], the cross-entropy with the true label.
    """

    features: Floats
    loss: Floats

    def __len__(self) -> int:
        return len(self.loss)


def answers(model: nn.Module, data: ImageData, space: Space) -> Answers:
    """Get a network's answers about images on its device, in evaluation mode; images are mapped into ``space`` first.

    Raises:
        DsetpackError: if an answer is not finite.
    """
    was_training = model.training
    model.eval()
    rows, losses = [], []
    with torch.no_grad():
        for x, y in data.batches(BATCH):
            logits = model(space.apply(x)).double()
            label = F.one_hot(y, logits.shape[1])
            loss = _loss(logits, label)
            rows.append(torch.cat([label, logits.softmax(1), loss[:, None]], 1).cpu())
            losses.append(loss.cpu())
    model.train(was_training)
    found = Answers(torch.cat(rows).numpy(), torch.cat(losses).numpy())
    if not (np.isfinite(found.features).all() and np.isfinite(found.loss).all()):
        raise DsetpackError(f"the network's answers about {data.name} are not finite: its training diverged")
    return found


def _loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy [N] of float64 logits and one-hot labels, which tells even the surest answers apart.

    It is log(1 + the sum of e^(other logit - true one)); computed from the true class's probability, the loss of all
    sure answers would be 0.
    """
    others = logits.masked_fill(label.bool(), -torch.inf).logsumexp(1)
    return F.softplus(others - (logits * label).sum(1))


def auc(members: Floats, others: Floats) -> float:
    """The area under the ROC curve: how often a member's score is above a non-member's; a tie counts half.

    0.5 is guessing. It is computed as the Mann-Whitney statistic, from ranks.

    Raises:
        FormatError: if members or non-members are missing, or a score is NaN.
    """
    values, where, counts = np.unique(np.concatenate([members, others]), return_inverse=True, return_counts=True)
    if not len(members) or not len(others) or np.isnan(values).any():
        raise FormatError("the AUC needs members and non-members, and scores that are numbers")
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    above = ranks[: len(members)].sum() - len(members) * (len(members) + 1) / 2
    return float(above / (len(members) * len(others)))


def attack(name: Attack, members: Answers, others: Answers, seed: int = 0) -> float:
    """Run an attack and return its AUC.

    ``threshold`` takes images of lower loss for members; its AUC is over all images. Each other attack learns from a
    random half of members and non-members and is tested on the other half.

    Args:
        name: the attack.
        members, others: answers about images that were trained on, and about equally many that were not.
        seed: the seed of the halves, the folds and the attacker's own randomness.

    Raises:
        FormatError: if the attack is unknown, the numbers of members and others differ, or are below ``LEAST``.
        DsetpackError: if the attack needs scikit-learn and it is not installed.
    """
    if name not in ATTACKS:
        raise FormatError(f"no attack {name!r}; known are {', '.join(ATTACKS)}")
    if len(members) != len(others) or len(members) < LEAST:
        raise FormatError(
            f"{len(members)} members and {len(others)} non-members; expected equally many, at least {LEAST}"
        )
    if name == "threshold":
        return auc(-members.loss, -others.loss)
    halves = [_half(given, derive(seed, side)) for given, side in ((members, "members"), (others, "others"))]
    (learn_in, test_in), (learn_out, test_out) = halves
    model = attacker(name, derive(seed, name) % 2**32)
    x, y = np.concatenate([learn_in, learn_out]), np.repeat([1, 0], [len(learn_in), len(learn_out)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(Stochastic Optimizer: Maximum iterations|lbfgs failed to converge)")
        model.fit(x, y)
    guess_in, guess_out = (np.asarray(model.predict_proba(part))[:, 1] for part in (test_in, test_out))
    return auc(guess_in, guess_out)


def attacks(members: Answers, others: Answers, names: Sequence[Attack] = ATTACKS, seed: int = 0) -> dict[Attack, float]:
    """Run several attacks and return their AUCs, by name."""
    return {name: attack(name, members, others, seed) for name in names}


def _half(given: Answers, seed: int) -> tuple[Floats, Floats]:
    """A random half of the features to learn from, and the other half."""
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(seed)).numpy()
    middle = len(order) // 2
    return given.features[order[:middle]], given.features[order[middle:]]


def attacker(name: Attack, state: int = 0) -> Any:
    """The scikit-learn classifier of an attack, which chooses its own settings when it is fitted.

    Raises:
        DsetpackError: if scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, StratifiedKFold
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise DsetpackError(
            f"the attack {name!r} needs scikit-learn, which is not installed: pip install 'dsetpack[audit]', "
            "or use the attack 'threshold' alone"
        ) from error
    made: dict[str, tuple[Any, Mapping[str, Sequence[Any]]]] = {
        "lr": (LogisticRegression(max_iter=500), {"C": [1e-4, 1e-2, 1.0, 1e2]}),
        "mlp": (MLPClassifier(random_state=state, alpha=1e-3), {"hidden_layer_sizes": [(64,), (32, 32)]}),
        "rf": (RandomForestClassifier(100, random_state=state), {"max_depth": [5, 10, 20, None]}),
        "knn": (KNeighborsClassifier(), {"n_neighbors": [3, 5, 7]}),
    }
    model, grid = made[name]
    prefix = type(model).__name__.lower()
    choices = {f"{prefix}__{key}": list(values) for key, values in grid.items()}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=state)
    return GridSearchCV(make_pipeline(StandardScaler(), model), choices, scoring="roc_auc", cv=folds)

"""Membership inference: the AUC, and attacks on answers that are known."""

import builtins

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.spaces import Raw
from dsetpack.trainers.attacks import ATTACKS, Answers, answers, attack, attacker, attacks, auc
from dsetpack.trainers.audit import audit
from dsetpack.trainers.data import ImageData
from tests.support.audit_cases import noise, pack

sklearn = pytest.importorskip("sklearn", reason="the extra 'audit' is not installed")


def made_up(count: int, gap: float, seed: int) -> Answers:
    """Answers whose log losses are normal, shifted down by ``gap``, and probabilities that agree with them."""
    rng = np.random.default_rng(seed)
    loss = np.exp(rng.normal(-gap, 1, count))
    right, label = np.exp(-loss), rng.integers(0, 3, count)
    probabilities = np.repeat(((1 - right) / 2)[:, None], 3, 1)
    probabilities[np.arange(count), label] = right
    return Answers(np.column_stack([np.eye(3)[label], probabilities, loss]), loss)


def stacked(members: Answers, others: Answers) -> tuple[np.ndarray, np.ndarray]:
    features = np.concatenate([members.features, others.features])
    return features, np.repeat([1, 0], [len(members), len(others)])


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
)
def test_auc_counts_pairs(members, others):
    pairs = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    assert auc(np.array(members, float), np.array(others, float)) == pytest.approx(np.mean(pairs))


def test_auc_is_scikit_learns():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    members, others = rng.normal(0.3, 1, 500).round(1), rng.normal(0, 1, 300).round(1)
    expected = roc_auc_score([1] * 500 + [0] * 300, np.concatenate([members, others]))
    assert auc(members, others) == pytest.approx(expected, abs=1e-12)
    assert auc(others, members) == pytest.approx(1 - expected, abs=1e-12)


def test_auc_refuses_what_has_none():
    for members, others in ((np.empty(0), np.ones(2)), (np.ones(2), np.empty(0)), (np.array([np.nan]), np.ones(1))):
        with pytest.raises(FormatError, match="the AUC needs members and non-members"):
            auc(members, others)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_finds_members_of_lower_loss(name):
    """Two normals 1.5 apart: the best possible AUC is Phi(1.5 / sqrt 2) = 0.856."""
    found = attack(name, made_up(200, 1.5, 1), made_up(200, 0, 2))
    assert 0.72 < found < 0.93
    if name in ("mlp", "knn"):
        assert attack(name, made_up(200, 1.5, 1), made_up(200, 0, 2)) == found


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_finds_what_is_not_there(name):
    """Within three standard errors of guessing on 200 of each: sqrt((2 · 200 + 1) / (12 · 200²)) = 0.029."""
    assert abs(attack(name, made_up(400, 0, 0), made_up(400, 0, 50)) - 0.5) < 3 * 0.029


def test_the_threshold_is_on_the_loss():
    members, others = made_up(50, 0.5, 0), made_up(50, 0, 1)
    expected = np.mean([a < b for a in members.loss for b in others.loss])
    assert attack("threshold", members, others) == pytest.approx(expected)


def test_attacks_are_tested_on_other_images_than_they_learn_from():
    """A nearest neighbour knows by heart what it learned, but must not know the random membership of others."""
    members, others = made_up(300, 0, 3), made_up(300, 0, 4)
    assert attack("knn", members, others) < 0.6
    by_heart = attacker("knn").fit(*(both := stacked(members, others)))
    known = by_heart.predict_proba(both[0])[:, 1]
    assert auc(known[:300], known[300:]) > 0.7


def test_attack_refusals():
    good = made_up(30, 0, 0)
    with pytest.raises(FormatError, match=r"no attack 'svm'; known are threshold, lr, mlp, rf, knn"):
        attack("svm", good, good)
    with pytest.raises(FormatError, match="30 members and 29 non-members; expected equally many"):
        attack("lr", good, made_up(29, 0, 0))
    with pytest.raises(FormatError, match="19 members and 19 non-members; .* at least 20"):
        attack("threshold", made_up(19, 0, 0), made_up(19, 0, 0))


def test_without_scikit_learn_only_the_threshold_works(monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.partition(".")[0] == "sklearn":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    good = made_up(30, 0, 0)
    assert 0 <= attack("threshold", good, good) <= 1
    with pytest.raises(DsetpackError, match=r"'lr' needs scikit-learn, .* pip install 'dsetpack\[audit\]'"):
        attack("lr", good, good)
    with pytest.raises(DsetpackError, match="needs scikit-learn"):
        audit(pack(), noise(), noise(seed=1), seeds=1)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.inner = nn.Dropout(0.5), nn.Linear(64, 3)

    def forward(self, x):
        return self.drop(self.inner(x.flatten(1)))


def test_answers_are_label_probabilities_and_loss():
    data, model = noise(7), Linear().train()
    said = answers(model, data, Raw())
    assert said.features.shape == (7, 7)
    assert model.training
    logits = model.inner(data.raw().flatten(1)).double()
    expected = nn.functional.cross_entropy(logits, data.labels, reduction="none").detach().numpy()
    assert np.allclose(said.loss, expected)
    assert np.allclose(said.features[:, -1], expected)
    assert np.array_equal(said.features[:, :3], np.eye(3)[data.labels.numpy()])
    assert np.allclose(said.features[:, 3:6], logits.softmax(1).detach().numpy())


def test_the_losses_of_sure_networks_differ():
    """Logits lead by 40 to 44: computed from the probability, which rounds to 1, log(1 + 2 e^-40) would be 0."""

    class Sure(nn.Module):
        def forward(self, x):
            lead = 40 + torch.arange(5.0)
            return torch.stack([lead, torch.zeros(5), torch.zeros(5)], 1)

    data = ImageData(noise(5).images, torch.zeros(5, dtype=torch.int64), ("a", "b", "c"), "sure")
    expected = 2 * np.exp(-40.0 - np.arange(5))
    assert np.allclose(answers(Sure(), data, Raw()).loss, expected, rtol=1e-9, atol=0)


def test_attacks_by_name():
    found = attacks(made_up(40, 1, 0), made_up(40, 0, 1), ("threshold", "lr"))
    assert list(found) == ["threshold", "lr"]

"""Membership inference: the AUC, attacks on answers that are known, and networks that memorise or cannot."""

import builtins
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import dsetpack
from dsetpack.cli import main
from dsetpack.formats.card import Provenance, Recipe
from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.spaces import Raw
from dsetpack.trainers.attacks import ATTACKS, Answers, answers, attack, attacker, attacks, auc
from dsetpack.trainers.audit import audit, known_members
from dsetpack.trainers.data import ImageData, load

sklearn = pytest.importorskip("sklearn", reason="the extra 'audit' is not installed")

RECIPE = Recipe(steps=4, batch_size=16, lr=0.02, width=4)


def noise(count: int = 60, seed: int = 0, name: str = "noise") -> ImageData:
    """Images without any meaning and random labels: whoever knows a label has learned it by heart."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, 1, 8, 8), generator=g, dtype=torch.uint8)
    y = torch.randint(0, 3, (count,), generator=g)
    return ImageData(x, y, ("a", "b", "c"), name)


def pack(members: ImageData | None = None, **card) -> dsetpack.Pack:
    real = noise(6, seed=9)
    if members is not None:
        card["provenance"] = Provenance(dataset=members.name, dataset_digest=members.digest)
    card = {"recipe": RECIPE, "title": "mine", **card}
    return dsetpack.Pack.from_arrays(real.images, real.labels, classes=real.classes, **card)


def made_up(count: int, gap: float, seed: int) -> Answers:
    """Answers whose losses are normal, those of members lower by ``gap``, and probabilities that say the same."""
    rng = np.random.default_rng(seed)
    loss = np.exp(rng.normal(-gap, 1, count))
    right, label = np.exp(-loss), rng.integers(0, 3, count)
    probabilities = np.repeat(((1 - right) / 2)[:, None], 3, 1)
    probabilities[np.arange(count), label] = right
    return Answers(np.column_stack([np.eye(3)[label], probabilities, loss]), loss)


def stacked(members: Answers, others: Answers) -> tuple[np.ndarray, np.ndarray]:
    features = np.concatenate([members.features, others.features])
    return features, np.repeat([1, 0], [len(members), len(others)])


# ---- the AUC


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


# ---- attacks on made-up answers


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_finds_members_of_lower_loss(name):
    """Two normals 1.5 apart: the best possible AUC is Phi(1.5 / sqrt 2) = 0.856."""
    found = attack(name, made_up(200, 1.5, 1), made_up(200, 0, 2))
    assert 0.72 < found < 0.93
    if name in ("mlp", "knn"):
        assert attack(name, made_up(200, 1.5, 1), made_up(200, 0, 2)) == found


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_finds_what_is_not_there(name):
    """Three standard errors of the AUC of guesses on 200 of each: sqrt((2 · 200 + 1) / (12 · 200²)) = 0.029."""
    assert abs(attack(name, made_up(400, 0, 0), made_up(400, 0, 50)) - 0.5) < 3 * 0.029


def test_the_threshold_is_on_the_loss():
    members, others = made_up(50, 0.5, 0), made_up(50, 0, 1)
    expected = np.mean([a < b for a in members.loss for b in others.loss])
    assert attack("threshold", members, others) == pytest.approx(expected)


def test_attacks_are_tested_on_other_images_than_they_learn_from():
    """A nearest neighbour knows by heart what it has learned; of random membership it must not know anything else."""
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


# ---- answers


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
    """Logits 40 to 44 above the others: log(1 + 2 e^-40) is 0 in float64 through the probability, which is 1."""

    class Sure(nn.Module):
        def forward(self, x):
            lead = 40 + torch.arange(5.0)
            return torch.stack([lead, torch.zeros(5), torch.zeros(5)], 1)

    data = ImageData(noise(5).images, torch.zeros(5, dtype=torch.int64), ("a", "b", "c"), "sure")
    expected = 2 * np.exp(-40.0 - np.arange(5))
    assert np.allclose(answers(Sure(), data, Raw()).loss, expected, rtol=1e-9, atol=0)


# ---- whole audits


def test_networks_that_memorise_give_their_members_away():
    """Random labels cannot be learned, only memorised; the pack has nothing of the members."""
    recipe = RECIPE.model_copy(update={"width": 16, "lr": 0.05, "weight_decay": 0.0})
    made, names = pack(recipe=recipe), ("threshold", "lr", "knn")
    found = audit(made, noise(60), noise(60, seed=1), seeds=2, real_steps=100, names=names)
    assert found.count == 60
    assert not found.known
    assert (found.pack.steps, found.real.steps) == (4, 100)
    for name, values in found.real.auc.items():
        assert len(values) == 2
        assert np.mean(values) > 0.8, name
    assert abs(np.mean(found.pack.auc["threshold"]) - 0.5) < 0.2
    assert all(0 <= a <= 1 for a in (*found.pack.accuracy, *found.real.accuracy))


def test_members_and_others_are_balanced_and_real_steps_follow_from_them():
    found = audit(pack(), noise(64), noise(30, seed=1), seeds=1, names=("threshold",), count=24, steps=2)
    assert (found.count, found.pack.steps, found.real.steps) == (24, 2, 200)
    assert audit(pack(), noise(64), noise(30, seed=1), seeds=1, names=("threshold",), real_steps=1).count == 30


def test_members_must_be_those_of_the_card():
    members = noise()
    assert known_members(pack(members), members)
    assert not known_members(pack(), members)
    with pytest.raises(FormatError, match=r"other is not what the pack was distilled from \(noise\).*provenance says"):
        audit(pack(members), noise(seed=3, name="other"), noise(seed=1))


def test_audit_refusals():
    with pytest.raises(FormatError, match="'mine' has no recipe in its card"):
        audit(pack(recipe=None), noise(), noise(seed=1))
    with pytest.raises(FormatError, match="10 members and 1 seeds; expected at least 20"):
        audit(pack(), noise(10), noise(seed=1), seeds=1)
    odd = ImageData(torch.zeros(30, 1, 9, 9), torch.zeros(30, dtype=torch.int64), ("a", "b", "c"), "odd")
    with pytest.raises(FormatError, match=r"odd has images of \[1, 9, 9\]; the pack makes \[1, 8, 8\]"):
        audit(pack(), noise(), odd)


def test_attacks_by_name():
    found = attacks(made_up(40, 1, 0), made_up(40, 0, 1), ("threshold", "lr"))
    assert list(found) == ["threshold", "lr"]


def test_the_command(tmp_path):
    path = tmp_path / "sample.npz"
    splits = (load("fashion-sample", split=split) for split in ("train", "test"))
    train, test = (data.take(data.draw(5, 0)) for data in splits)
    np.savez(path, x_train=train.images[:, 0].numpy(), y_train=train.labels.numpy(),
             x_test=test.images[:, 0].numpy(), y_test=test.labels.numpy())  # fmt: skip
    members = load(path)
    chosen = members.take(members.draw(1, 0))
    made = dsetpack.Pack.from_arrays(
        chosen.images,
        chosen.labels,
        classes=members.classes,
        recipe=RECIPE,
        provenance=Provenance(dataset="sample", dataset_digest=members.digest),
    )
    made.save(tmp_path / "sample.dpk")
    options = ["audit", str(tmp_path / "sample.dpk"), "--data", str(path), "--seeds", "1", "--real-steps", "40"]
    result = CliRunner().invoke(main, [*options, "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["known_members"] is True
    assert facts["members"] == 50
    for kind in ("pack", "real"):
        assert list(facts[kind]["auc"]) == list(ATTACKS)
        assert all(0 <= one["mean"] <= 1 for one in facts[kind]["auc"].values())
    shown = CliRunner().invoke(main, [*options, "--attack", "threshold"])
    assert f"{facts['real']['auc']['threshold']['mean']:.3f}" in shown.stdout
    assert "logistic" not in shown.stdout
    assert not shown.stderr
    made.replace_card(provenance=Provenance()).save(tmp_path / "silent.dpk")
    options[1] = str(tmp_path / "silent.dpk")
    assert "does not pin the real images" in CliRunner().invoke(main, [*options, "--attack", "threshold"]).stderr
    other = CliRunner().invoke(main, ["audit", str(tmp_path / "sample.dpk"), "--data", "fashion-sample"])
    assert other.exit_code == 1
    assert "fashion-sample is not what the pack was distilled from (sample)" in other.stderr


def test_a_network_that_diverged_is_not_attacked():
    class Lost(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), torch.nan)

    data = ImageData(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"), "zeros")
    with pytest.raises(DsetpackError, match="answers about zeros are not finite: its training diverged"):
        answers(Lost(), data, Raw())

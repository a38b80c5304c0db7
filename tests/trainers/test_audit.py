"""Audits: networks that memorise give their members away, others do not."""

import numpy as np
import pytest
import torch
from torch import nn

from dsetpack.formats.errors import DsetpackError, FormatError
from dsetpack.spaces import Raw
from dsetpack.trainers.attacks import answers
from dsetpack.trainers.audit import audit, known_members
from dsetpack.trainers.data import ImageData
from tests.support.audit_cases import RECIPE, noise, pack

sklearn = pytest.importorskip("sklearn", reason="the extra 'audit' is not installed")


@pytest.mark.slow
def test_networks_that_memorise_give_their_members_away():
    """Random labels cannot be learned, only memorised; the pack contains no members."""
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
    with pytest.raises(FormatError, match="10 members and 1 seed; expected at least 20"):
        audit(pack(), noise(10), noise(seed=1), seeds=1)
    odd = ImageData(torch.zeros(30, 1, 9, 9), torch.zeros(30, dtype=torch.int64), ("a", "b", "c"), "odd")
    with pytest.raises(FormatError, match=r"odd has images of \[1, 9, 9\]; the pack makes \[1, 8, 8\]"):
        audit(pack(), noise(), odd)


def test_a_network_that_diverged_is_not_attacked():
    class Lost(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), torch.nan)

    data = ImageData(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"), "zeros")
    with pytest.raises(DsetpackError, match="answers about zeros are not finite: its training diverged"):
        answers(Lost(), data, Raw())

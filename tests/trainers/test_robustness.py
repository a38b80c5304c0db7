"""LRS and ARS: the formulas by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsetpack.trainers.robustness import Accuracies, Scores, augmentation_robust, label_robust, normalised


@pytest.mark.parametrize(
    ("gain", "score"), [(-1, 0), (1, 1), (0, 0.2689414213699951), (-0.05, 0.2481916), (0.5, 0.5449457)]
)
def test_normalised_by_hand(gain, score):
    """(e^0 - e^-1) / (e - e^-1) = 1 / (1 + e); (0.9512294 - 0.3678794) / 2.3504024; (1.6487213 - ...) / ..."""
    assert normalised(gain) == pytest.approx(score, abs=2e-7)


def test_lrs_by_hand():
    """91 % of all real images, 60 % with hard labels, 70 % as the card says, 50 % of random ones."""
    hlr, ior = 0.91 - 0.60, 0.70 - 0.50
    alpha = 0.5 * 0.20 - 0.5 * 0.31  # -0.055
    assert label_robust(hlr, ior) == pytest.approx((math.exp(alpha) - 0.36787944) / 2.35040239, abs=1e-7)
    assert label_robust(hlr, ior) == pytest.approx(0.2461730, abs=1e-6)
    assert label_robust(hlr, ior, 1) == pytest.approx(normalised(0.20))
    assert label_robust(hlr, ior, 0) == pytest.approx(normalised(-0.31))


def test_ars_by_hand():
    """Leads of 20 and 10 points give beta 0.15."""
    assert augmentation_robust(0.20, 0.10) == pytest.approx((1.1618342 - 0.36787944) / 2.35040239, abs=1e-7)
    assert augmentation_robust(0.20, 0.10) == pytest.approx(0.3377952, abs=1e-6)
    assert augmentation_robust(0.20, 0.10, 0) == pytest.approx(normalised(0.10))


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_scores_of_fractions_are_fractions(hlr, ior):
    assert 0 <= label_robust(hlr, ior) <= 1
    assert 0 <= augmentation_robust(hlr, ior) <= 1


@given(st.floats(-0.9, 0.9), st.floats(0.01, 0.1))
def test_scores_rise_with_the_lead_and_fall_with_the_loss(gain, more):
    assert label_robust(0.3, gain + more) > label_robust(0.3, gain)
    assert label_robust(gain + more, 0.3) < label_robust(gain, 0.3)


def test_scores_are_of_each_seed():
    part = {
        "real-hard": (0.9, 0.8),
        "syn-hard": (0.6, 0.7),
        "syn-any": (0.7, 0.75),
        "rdm-any": (0.5, 0.6),
        "syn-naug": (0.65, 0.6),
        "rdm-naug": (0.5, 0.55),
    }
    found = Scores({name: Accuracies(values, 0.01) for name, values in part.items()}, 1, 10, 20)
    assert found.hlr == pytest.approx((0.3, 0.1))
    assert found.ior == pytest.approx((0.2, 0.15))
    assert found.label_gain == pytest.approx((0.1, 0.05))
    assert found.lrs == pytest.approx((normalised(-0.05), normalised(0.025)))
    assert found.ars == pytest.approx((normalised(0.175), normalised(0.1)))
    assert found["syn-any"].mean == pytest.approx(0.725)
    assert found["syn-any"].std == pytest.approx(0.05 / math.sqrt(2))
    assert Accuracies((0.5,), 0.1).std is None

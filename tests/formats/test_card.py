"""The card's models refuse contradictions."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dsetpack.formats.card import NormalizedSpace, ZcaSpace
from tests.support.space_cases import DIGEST


@pytest.mark.parametrize(
    "change",
    [
        {"storage": "refit"},
        {"storage": "refit", "mean": None, "matrix": None, "spectrum": ()},
        {"storage": "refit", "matrix": None},
        {"mean": None},
        {"spectrum": (1.0, 2.0)},
        {"variant": "frepo"},
        {"variant": "frepo", "channel_mean": (0.0,), "channel_std": (1.0, 1.0)},
        {"channel_std": (1.0,)},
        {"epsilon": 0.0},
    ],
)
def test_models_that_contradict_themselves(change):
    good = {"variant": "kornia", "epsilon": 0.1, "fitted_on": DIGEST, "storage": "embed", "mean": "m", "matrix": "x"}
    good["spectrum"] = (2.0, 1.0)
    ZcaSpace(**good)
    with pytest.raises(ValidationError):
        ZcaSpace(**{**good, **change})
    with pytest.raises(ValidationError):
        NormalizedSpace(mean=(0.0, 0.0), std=(1.0,))

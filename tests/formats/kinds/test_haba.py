"""``haba``: settings, patches and shapes."""

from __future__ import annotations

from typing import Any

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import kind_config
from tests.support.decoder_cases import (
    CIFAR,
)


def test_haba_numbers_patches_last() -> None:
    """The decoder is hallucinator · f² + patch; the manifest leaves out the default."""
    config = kind_config("haba").model_validate({"decoders": 3, "factor": 2})
    assert config.bank_size() == 12
    assert config.source_shape(CIFAR) == CIFAR
    assert "factor" not in kind_config("haba").model_validate({"decoders": 3}).model_dump(exclude_defaults=True)


def test_shared_layers_are_stored_once() -> None:
    """Only ``sigma`` and ``mu`` belong to each hallucinator."""
    made = kind_config("haba").model_validate({"decoders": 5, "shared": True})
    for role, shape in made.bank_shapes(CIFAR, 10).items():
        assert shape[0] == (5 if role in ("sigma", "mu") else 1), role


@pytest.mark.parametrize(
    ("config", "image", "message"),
    [
        ({"source_channels": 2}, CIFAR, "haba: source_channels 2, expected 1 or the image's 3"),
        ({"depth": 0, "channels": 8}, CIFAR, "haba: depth 0 has no layer that changes channels"),
        ({"form": "released"}, (3, 2, 9), "haba: the released form needs images of at least 3×3, found 2×9"),
        ({"factor": 4}, (3, 5, 8), "haba: factor 4 does not fit image height 5"),
    ],
)
def test_settings_that_cannot_make_the_image(config: dict[str, Any], image: tuple[int, int, int], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        kind_config("haba").model_validate({"decoders": 1, **config}).bank_shapes(image, 10)

"""``kfs``: shapes of codes and layers."""

import pytest

from dsetpack.formats.kinds.kfs import KfsConfig


@pytest.mark.parametrize(
    ("channels", "image", "source"),
    [
        ((12, 9, 6), (3, 32, 32), (12, 4, 4)),
        ((12, 9, 6), (1, 28, 28), (12, 4, 4)),
        ((12, 9), (3, 32, 32), (12, 8, 8)),
        ((5, 4), (3, 13, 17), (5, 4, 5)),
    ],
)
def test_codes_are_rounded_up(channels, image, source):
    config = KfsConfig(decoders=2, channels=channels)
    assert config.scale() == 2 ** len(channels)
    assert config.source_shape(image) == source


@pytest.mark.parametrize("kernel", [2, 4])
def test_layers_lead_from_the_code_to_the_image(kernel):
    shapes = KfsConfig(decoders=5, channels=(4, 3, 2), kernel=kernel).bank_shapes((3, 16, 16), 10)
    assert shapes == {
        "layers.0.weight": (5, 4, 3, kernel, kernel),
        "layers.0.bias": (5, 3),
        "layers.1.weight": (5, 3, 2, kernel, kernel),
        "layers.1.bias": (5, 2),
        "layers.2.weight": (5, 2, 3, kernel, kernel),
        "layers.2.bias": (5, 3),
    }

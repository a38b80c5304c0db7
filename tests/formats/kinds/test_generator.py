"""``generator``: the layers that its settings imply."""

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.generator import GeneratorConfig


def test_the_papers_layers_for_32_pixels():
    assert GeneratorConfig().layers((3, 32, 32)) == ("up4", "conv", "conv", "conv", "up4", "conv", "up4")


@pytest.mark.parametrize(("side", "first", "ups"), [(7, "up3", 1), (8, "up4", 1), (14, "up3", 2), (64, "up4", 4)])
def test_layers_enlarge_4_pixels_to_the_side(side, first, ups):
    layers = GeneratorConfig().layers((1, side, side))
    assert layers[:4] == (first, "conv", "conv", "conv")
    assert sum(layer != "conv" for layer in layers) == ups
    assert (7 if first == "up3" else 8) * 2 ** (ups - 1) == side


@pytest.mark.parametrize("image", [(1, 4, 4), (1, 12, 12), (1, 30, 30), (1, 32, 64), (1, 0, 0)])
def test_other_sizes_are_refused(image):
    with pytest.raises(FormatError, match="expected a square with sides"):
        GeneratorConfig().layers(image)


def test_the_noise_holds_the_label_and_more():
    config = GeneratorConfig(width=4, noise=6)
    assert config.bank_shapes((1, 8, 8), 5)["fc.weight"] == (64, 6)
    assert config.source_shape((1, 8, 8)) == (6,)
    assert not config.has_sources
    with pytest.raises(FormatError, match="6 noise entries for 6 classes; expected more than 6"):
        config.bank_shapes((1, 8, 8), 6)

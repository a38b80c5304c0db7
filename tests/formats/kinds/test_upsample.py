"""``upsample``: factors that fit an image."""

import pytest

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds.upsample import UpsampleConfig


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_as_many_decoders_as_patches(factor):
    config = UpsampleConfig(factor=factor)
    assert config.bank_size() == factor**2
    assert config.source_shape((3, 32, 32)) == (3, 32, 32)
    assert config.bank_shapes((3, 32, 32), 10) == {}


@pytest.mark.parametrize("factor", range(2, 9))
def test_no_patch_is_padding_alone(factor):
    config, refused = UpsampleConfig(factor=factor), []
    for side in range(1, 40):
        patch, _ = config.patch_size((1, side, 840))
        assert patch * factor >= side > patch * factor - factor
        if (factor - 1) * patch < side:  # the last patch begins inside the image
            assert config.bank_shapes((1, side, 840), 10) == {}
        else:
            refused.append(side)
            with pytest.raises(FormatError, match=f"factor {factor} does not fit image height {side}: patches of"):
                config.bank_shapes((1, side, 840), 10)
    assert refused
    assert max(refused) < factor * (factor - 1)

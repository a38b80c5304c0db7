"""Decoder kinds by name, and what every kind states about itself."""

import pytest
from pydantic import ValidationError

from dsetpack.formats.errors import VersionError
from dsetpack.formats.kinds import KindConfig, kind_config, kind_names
from tests.support.format_packs import KINDS


def test_all_kinds_are_tested_here():
    assert kind_names() == tuple(sorted(KINDS)) == ("generator", "haba", "images", "kfs", "upsample")


@pytest.mark.parametrize("name", ["base", "_conv", "os", "", "Haba"])
def test_unknown_kinds_fail_by_name(name):
    with pytest.raises(VersionError, match=f"unknown decoder kind '{name}'; this version knows generator, haba"):
        kind_config(name)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_strict_and_state_sizes(kind):
    image, settings = KINDS[kind]
    config = kind_config(kind).model_validate(settings, strict=True)
    assert isinstance(config, KindConfig)
    assert config.bank_size() >= 1
    assert config.yields in ("space", "raw")
    shapes = [*config.bank_shapes(image, 3).values(), config.source_shape(image)]
    assert all(type(n) is int and n >= 1 for shape in shapes for n in shape)
    assert config.prepared_floats(image) >= 0
    with pytest.raises(ValidationError, match="Extra inputs"):
        kind_config(kind).model_validate({**settings, "colour": 1}, strict=True)


def test_what_is_prepared_is_what_the_decoders_hold():
    """``upsample`` holds two matrices, ``kfs`` with kernel 2 an affine map per decoder."""
    upsample = kind_config("upsample").model_validate({"factor": 3})
    assert upsample.patch_size((3, 13, 17)) == (5, 6)
    assert upsample.prepared_floats((3, 13, 17)) == 13 * 5 + 17 * 6
    kfs = kind_config("kfs").model_validate({"decoders": 7, "channels": (6, 5, 4)})
    assert kfs.prepared_floats((3, 32, 32)) == 7 * (6 + 1) * 3 * 8 * 8
    assert kfs.model_copy(update={"kernel": 4}).prepared_floats((3, 32, 32)) == 0

"""``images``: no settings, no bank."""

import pytest
from pydantic import ValidationError

from dsetpack.formats.kinds.images import ImagesConfig


def test_the_sources_are_the_images():
    config = ImagesConfig()
    assert (config.bank_size(), config.source_shape((3, 4, 5)), config.bank_shapes((3, 4, 5), 10)) == (1, (3, 4, 5), {})
    assert (config.yields, config.has_sources, config.prepared_floats((3, 4, 5))) == ("space", True, 0)


def test_there_are_no_settings():
    assert ImagesConfig().model_dump() == {}
    with pytest.raises(ValidationError, match="Extra inputs"):
        ImagesConfig.model_validate({"factor": 2})

"""The user sets the limits."""

import pytest

from dsetpack import formats
from dsetpack.formats import Limits, Reader
from tests.support.paths import ATTACKS as FOLDER


def test_limits_are_the_users():
    path = FOLDER / "files" / "pairs-huge.dpk"
    assert Reader(path, limits=Limits(total=8 * 2**32)).manifest.parts[0].sources == 2**16
    with pytest.raises(formats.LimitError):
        Reader(path, limits=Limits(total=8 * 2**32 - 1))

"""What the tests of bad sources share."""

from __future__ import annotations

import os

import pytest
import torch

from dsetpack import Normalized, NormalizedSpace
from dsetpack.convert import convert
from dsetpack.formats import FormatError
from tests.support import release_layouts as made

SPACE = Normalized(NormalizedSpace(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)))
X, Y = made.noise(10, 3, 8, 8), torch.arange(5).repeat_interleave(2)


class Runs:
    """An object whose pickle calls ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def refused(path, *words, kind=FormatError, **options):
    with pytest.raises(kind) as caught:
        convert(path, **{"space": SPACE, **options})
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    return message

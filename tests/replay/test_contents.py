"""A memory's contents are a value."""

from __future__ import annotations

import pytest

from dsetpack.replay import ReplayMemory
from dsetpack.replay.contents import Contents
from tests.support.replay_packs import arrays


def test_the_contents_are_a_value():
    """Packs and loaders that a memory gave away stay the same when it changes."""
    memory = ReplayMemory(9000, classes=4)
    memory.add_arrays(*arrays([0, 1], 20))
    before, loader = memory.pack, memory.loader(8)
    memory.add_arrays(*arrays([2, 3], 20))
    assert len(before) == 40
    assert sum(len(y) for _, y in loader) == 40
    assert len(memory) > 40 or len(memory.pack.parts[0]) < 40
    with pytest.raises(AttributeError):
        Contents.__setattr__(memory._contents, "file", None)

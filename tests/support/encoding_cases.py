"""What the tests of encodings share: arrays, and the round trip."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsetpack.formats.encodings import codec, spell

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=6)
FLOATS = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32))
FINITE = hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e6, 1e6, width=32))


def through(step, values):
    """Encode the values, and decode them with the encoding as the manifest spells it."""
    stored, used, sides = step.encode(values, "x")
    again = codec(spell(used))
    assert again == used
    assert stored.dtype.name == used.stored_dtype(values.dtype.name)
    assert stored.shape == values.shape
    assert {name: side.shape for name, side in sides.items()} == used.needs(values.shape)
    assert all(side.dtype == np.float32 for side in sides.values())
    return stored, again.decode(stored, values.dtype, sides.__getitem__), again

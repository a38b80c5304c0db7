"""Shuffling is a transposition of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsetpack.formats.encodings.shuffle import Shuffle
from dsetpack.formats.errors import FormatError


@given(st.sampled_from([2, 4, 8]), st.integers(0, 50), st.randoms())
def test_shuffle_is_a_transposition_of_bytes(itemsize, count, random):
    data = random.randbytes(itemsize * count)
    step = Shuffle(itemsize=itemsize)
    shuffled = step.encode(data)
    assert shuffled == b"".join(data[i::itemsize] for i in range(itemsize))
    assert step.decode(shuffled, len(data)) == data
    with pytest.raises(FormatError, match="shuffle: "):
        step.decode(shuffled + b"x", len(data))

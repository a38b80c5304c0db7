"""The manifest's JSON: canonical, strict, and nothing that JSON cannot hold."""

import json
import random
import struct

import pytest

from dsetpack.formats.manifest import canonical as ours
from tests.support.format_packs import images
from tests.support.spec_reader import canonical


@pytest.mark.parametrize(
    "extra",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": "\ud800"}, {"\ud800": 1}, {"x": 10**5000}],
    ids=["nan", "infinity", "surrogate", "key", "digits"],
)
def test_cards_that_json_cannot_hold_are_refused(extra):
    """The card's model or the writer refuses them."""
    with pytest.raises(ValueError, match=r"cannot be written as JSON|extra\.x\.float"):
        images(extra=extra)


@pytest.mark.parametrize(
    "number",
    [0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 1e16, 123456789012345680.0, 9999999999999998.0, 1e-4, 9.9e-5, 1.5e16, 1e22,
     5e-324, 1.7976931348623157e308],
)  # fmt: skip
def test_canonical_floats(number):
    assert canonical(number).encode() == ours(number) == json.dumps(number).encode()


def test_canonical_json_of_anything():
    draw = random.Random(0)

    def value(depth):
        kind = draw.randrange(7 if depth else 5)
        if kind == 0:
            return struct.unpack("<d", draw.randbytes(7) + bytes([draw.randrange(0x7F)]))[0] * draw.choice([1, -1])
        if kind == 1:
            return draw.randrange(-(10**20), 10**20)
        if kind == 2:
            return "".join(
                chr(draw.choice([draw.randrange(40), draw.randrange(0x20, 0xD800), 0x1F600])) for _ in range(6)
            )
        if kind in (3, 4):
            return draw.choice([True, False, None, 0.5, 3])
        if kind == 5:
            return [value(depth - 1) for _ in range(draw.randrange(4))]
        return {str(value(0)): value(depth - 1) for _ in range(draw.randrange(4))}

    for _ in range(500):
        found = value(3)
        assert canonical(found).encode() == ours(found)

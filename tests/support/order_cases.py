"""What the tests of the order share: golden vectors, and strategies for hypothesis."""

import json

from hypothesis import strategies as st

from tests.support.paths import GOLDEN

VECTORS = json.loads((GOLDEN / "order.json").read_text())
SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 2**32 - 1)
PARTS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=4)

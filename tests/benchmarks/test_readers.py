"""What the readers' benchmark calls right and worse."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import readers
from dsetpack.formats import Reader


def test_every_bit_shape_and_type_counts():
    for pack in readers.PACKS.values():
        with Reader(pack) as reader:
            stored = {name: readers._stored(reader, name) for name in reader.manifest.datasets}
        assert readers.compared(stored, pack) == {"outcome": "right"}
        name = min(stored)
        changed = stored[name].copy().ravel()
        changed[-1] += 1
        wrong = stored | {name: changed.reshape(stored[name].shape)}
        assert readers.compared(wrong, pack)["outcome"] == "wrong"
        assert readers.compared(stored | {name: stored[name].astype(np.float64)}, pack)["outcome"] == "widened"
        assert readers.compared({}, pack)["outcome"] == "refused"


def test_a_cell_that_got_worse_is_named():
    old = {"h5py": {"float16": {"outcome": "right"}, "float32": {"outcome": "wrong"}}}
    new = {"h5py": {"float16": {"outcome": "refused", "message": "no"}, "float32": {"outcome": "right"}}}
    assert list(readers.worse(old, new)) == ["h5py; float16: right -> refused no"]
    assert not list(readers.worse({}, new))

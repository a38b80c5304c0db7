"""What is written is what is read: dtypes, shapes, chunks, presets, overrides, parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsetpack import formats
from dsetpack.formats import Reader, writer
from dsetpack.formats.manifest import ITEMSIZE
from tests.support.format_packs import KINDS, PRESETS, free_kind, free_part, part_of, same

ANY = st.sampled_from(sorted(ITEMSIZE)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5))
)


def stored_and_read(tensors, encoding="exact"):
    card, part, every = free_part(tensors)
    data = formats.encode(card, [part], every, encoding)
    formats.verify(data, hdf5=False)
    with Reader(data) as reader:
        return {name: reader.tensor(name) for name in tensors}, reader


@given(st.dictionaries(st.sampled_from(["a", "b", "c.d", "E-1"]), ANY, max_size=4), st.integers(1, 64))
def test_every_dtype_and_shape_comes_back_bit_by_bit(tensors, chunk_bytes):
    with free_kind(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(writer, "LARGEST_CHUNK_BYTES", chunk_bytes)
        found, _ = stored_and_read(tensors)
    assert all(same(found[name], values) for name, values in tensors.items())
    assert all(values.flags.writeable for values in found.values())


@given(ANY, st.sampled_from(PRESETS[1:]))
@settings(max_examples=40)
def test_presets_take_every_dtype_and_shape(values, preset):
    """This includes NaN, infinities, scalars and empty tensors: what cannot be encoded with loss is kept."""
    with free_kind():
        found, _ = stored_and_read({"x": values}, preset)
    assert found["x"].shape == values.shape
    assert found["x"].dtype == values.dtype
    if values.dtype != np.float32:
        assert same(found["x"], values)
        return
    finite = np.isfinite(values)
    assert np.isfinite(found["x"][finite]).all()
    assert np.array_equal(found["x"][~finite], values[~finite], equal_nan=True)


def test_many_small_tensors_share_chunked_datasets(monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 100)
    monkeypatch.setattr(writer, "LARGEST_CHUNK_BYTES", 100)
    rng = np.random.default_rng(0)
    tensors = {f"w{n}": rng.standard_normal((n, 3)).astype(np.float32) for n in range(12)}
    with free_kind():
        found, reader = stored_and_read(tensors)
    assert all(same(found[name], values) for name, values in tensors.items())
    shared = reader.manifest.datasets["shared_float32"]
    assert shared.shape == (sum(v.size for v in tensors.values()),)
    assert shared.chunk == (25,)
    assert {reader.manifest.tensors[name].dataset for name in tensors} == {"shared_float32", None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_kind_in_every_preset(kind, preset):
    made, part, tensors = part_of(kind)
    data = formats.encode(made, [part], tensors, preset)
    formats.verify(data, hdf5=False)
    with Reader(data) as reader:
        found = reader.part(0)
        assert reader.manifest.card == made
        assert reader.manifest.parts == (part,)
    assert set(found) == set(tensors)
    for role, values in tensors.items():
        if preset == "exact" or values.dtype != np.float32:
            assert same(found[role], values)
        else:
            step = {"f16": 2**-10, "int8": 1 / 255, "int4": 1 / 15}[preset]
            span = max(float(values.max() - values.min()), float(np.abs(values).max()))
            assert np.abs(found[role] - values).max() <= 0.5 * span if preset == "int4" else 20 * step * span
            assert np.sqrt(np.square(found[role] - values).mean()) <= step * span

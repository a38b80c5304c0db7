"""Casts against torch and numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsetpack import Pack
from dsetpack.formats.encodings.cast import Cast
from dsetpack.formats.errors import FormatError
from tests.support.encoding_cases import FLOATS, SHAPES, through
from tests.support.format_packs import images


@given(FLOATS)
def test_bfloat16_is_torchs(values):
    largest_bfloat16 = 3.3895313892515355e38
    widest = np.where(np.abs(values) > largest_bfloat16, np.float32(0), values)
    widest = np.where(np.isfinite(values), widest, values)  # infinities and NaN stay
    stored, restored, _ = through(Cast(dtype="bfloat16"), widest)
    theirs = torch.from_numpy(np.array(widest)).to(torch.bfloat16)
    nan = np.isnan(widest)
    assert np.array_equal(restored[~nan], theirs.float().numpy()[~nan])
    assert np.array_equal(np.signbit(restored[~nan]), np.signbit(widest[~nan]))
    assert np.isnan(restored[nan]).all()
    assert np.array_equal(stored[~nan], theirs.view(torch.int16).numpy().view(np.uint16)[~nan])


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-65504, 65504, width=32)))
def test_float16_rounds_to_nearest_even(values):
    _, restored, _ = through(Cast(dtype="float16"), values)
    assert np.array_equal(restored, torch.from_numpy(np.array(values)).half().float().numpy())


def test_cast_of_float64_and_of_nothing_else():
    values = np.linspace(-3, 3, 11)
    _, restored, _ = through(Cast(dtype="float16"), values)
    assert restored.dtype == np.float64
    assert np.array_equal(restored, values.astype(np.float16).astype(np.float64))
    with pytest.raises(ValueError, match="cast takes float32 or float64, not int8"):
        Cast(dtype="float16").stored_dtype("int8")


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65520.0), ("float16", -1e30), ("bfloat16", 3.4e38)])
def test_cast_refuses_to_make_infinities(dtype, value):
    with pytest.raises(FormatError, match=f"does not fit {dtype}"):
        Cast(dtype=dtype).encode(np.array([1.0, value], np.float32), "x")
    finite = np.array([1.0, math.inf, math.nan], np.float32)
    _, restored, _ = through(Cast(dtype=dtype), finite)
    assert np.array_equal(restored, finite, equal_nan=True)


def test_cast_takes_what_rounds_to_the_largest_value():
    _, restored, _ = through(Cast(dtype="float16"), np.array([65519.0], np.float32))
    assert restored[0] == 65504


@pytest.mark.parametrize(("dtype", "value"), [("float16", 1e30), ("float16", -65520.0), ("bfloat16", 3.4e38)])
def test_a_pack_that_a_cast_does_not_fit_says_which_tensor(dtype, value, tmp_path):
    sources = np.zeros((7, 1, 6, 5), np.float32)
    sources[3, 0, 2, 2] = value
    message = rf"tensor 'sources': .* does not fit {dtype}"
    for choice in (Cast(dtype=dtype), {"name": "cast", "configuration": {"dtype": dtype}}):
        with pytest.raises(FormatError, match=message):
            images(sources, {"sources": choice})
    pack = Pack.from_arrays(np.zeros_like(sources), [0, 1, 2, 0, 1, 2, 0])
    pack.parts[0].sources[3, 0, 2, 2] = value
    with pytest.raises(FormatError, match=message):
        pack.save(tmp_path / "x.dpk", encoding={"sources": Cast(dtype=dtype)})
    assert not list(tmp_path.iterdir())


def test_a_pack_whose_labels_are_cast_says_which_tensor():
    with pytest.raises(FormatError, match="tensor 'labels': cast takes float32 or float64, not uint8"):
        images(encoding={"labels": Cast(dtype="float16")})

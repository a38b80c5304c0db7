"""Quantization: error bounds, scales, blocks, and what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsetpack import Pack
from dsetpack.formats.encodings.quantize import Quantize, best_affine
from dsetpack.formats.errors import FormatError
from tests.support.encoding_cases import FINITE, through
from tests.support.format_packs import images


@given(FINITE, st.integers(1, 8), st.data())
def test_quantize_stays_within_its_error_bound(values, bits, data):
    block = tuple(data.draw(st.integers(1, n)) for n in values.shape) if values.ndim else None
    whole = data.draw(st.booleans())
    stored, restored, _ = through(Quantize(bits=bits, block=None if whole else block), values)
    assert stored.max() < 2**bits
    assert restored.dtype == np.float32
    # Clipping is chosen by squared error, so the sum of each block is never above that of plain min/max.
    block = values.shape if whole or not values.ndim else block
    for cell in np.ndindex(*(-(-n // b) for n, b in zip(values.shape, block, strict=True))):
        where = tuple(slice(i * b, (i + 1) * b) for i, b in zip(cell, block, strict=True))
        piece = values[where].astype(np.float64)
        low, high = piece.min(), piece.max()
        step = (high - low) / (2**bits - 1)
        codes = np.rint((piece - low) / step) if step else np.zeros_like(piece)
        plain = np.square(codes * step + low - piece).sum()
        slack = piece.size * (8 * np.spacing(np.float32(max(abs(low), abs(high), 1e-30)))) ** 2
        edge = any(n % b for n, b in zip(values.shape, block, strict=True))  # edge blocks count repeated values
        mine = np.square(restored[where].astype(np.float64) - piece).sum()
        limit = plain * (1 + 1e-5) + slack + 4 * np.sqrt(plain * slack)
        assert mine <= limit or edge
        assert np.abs(restored[where] - piece).max() <= (high - low) * (1 + 1e-5) + 1e-5 * max(abs(low), abs(high))


@given(st.floats(1e-3, 1e3), st.floats(-100, 100), st.integers(1, 8), st.data())
def test_given_scales_err_by_half_a_step(scale, offset, bits, data):
    scale, offset = np.float32(scale), np.float32(offset)
    top = float(scale) * (2**bits - 1)
    shares = data.draw(hnp.arrays(np.float64, 20, elements=st.floats(0, 1)))
    values = (offset + shares * top).astype(np.float32)
    _, restored, _ = through(Quantize(bits=bits, scale=float(scale), offset=float(offset)), values)
    rounding = 4 * np.spacing(np.float32(abs(offset) + top))
    assert np.abs(restored.astype(np.float64) - values).max() <= scale / 2 + rounding


@given(hnp.arrays(np.float32, (3, 40), elements=st.floats(-100, 100, width=32)), st.integers(1, 8))
def test_clipping_is_never_worse_than_the_full_range(values, bits):
    scale, offset = best_affine(values, bits)
    low, high = values.min(-1), values.max(-1)
    full = np.maximum((high.astype(np.float64) - low) / (2**bits - 1), np.finfo(np.float32).tiny).astype(np.float32)

    def error(scale, offset):
        codes = np.clip(np.rint((values - offset[:, None]) / scale[:, None]), 0, 2**bits - 1).astype(np.float32)
        return np.square(((codes * scale[:, None] + offset[:, None]) - values).astype(np.float64)).mean(-1)

    assert (error(scale, offset) <= error(full, low) * (1 + 1e-6) + 1e-12).all()


def test_clipping_pays_where_values_have_outliers():
    values = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    values[0] = 30
    _, restored, used = through(Quantize(bits=3), values)
    assert used.scale * 7 < 0.6 * (values.max() - values.min())
    step = (values.max() - values.min()) / 7
    full = np.rint((values - values.min()) / step) * step + values.min()
    assert np.square(restored - values).mean() < 0.7 * np.square(full - values).mean()


def test_quantize_per_tensor_axis_and_patch():
    values = (
        np.random.default_rng(1).standard_normal((4, 6, 6)).astype(np.float32)
        * np.array([1, 10, 100, 1000])[:, None, None]
    )
    values = values.astype(np.float32)
    _, whole, one = through(Quantize(bits=8), values)
    assert isinstance(one.scale, float)
    assert one.block is None
    _, axis, used = through(Quantize(bits=8, block=(1, 6, 6)), values)
    assert used.scale == "x.scale"
    assert used.offset == "x.offset"
    _, patch, used = through(Quantize(bits=8, block=(1, 4, 4)), values)
    assert used.needs(values.shape) == {"x.scale": (4, 2, 2), "x.offset": (4, 2, 2)}
    errors = [np.abs(found[0] - values[0]).max() for found in (whole, axis, patch)]
    assert errors[0] > 20 * errors[1] > 20 * errors[2] * 0.99


def test_quantize_decodes_as_the_specification_says():
    """value = float32(code) * scale + offset, rounded to float32 after each of the two operations."""
    codes = np.arange(256, dtype=np.uint8)
    scale, offset = np.float32(0.1), np.float32(-3.7)
    found = Quantize(bits=8, scale=0.1, offset=-3.7).decode(codes, np.dtype("float32"), {}.__getitem__)
    for code, value in zip(codes.tolist(), found, strict=True):
        product = np.float32(np.float64(code) * np.float64(scale))
        assert value == np.float32(np.float64(product) + np.float64(offset))


def test_given_scales_are_used_as_they_are():
    pixels = np.arange(256, dtype=np.uint8)
    values = pixels.astype(np.float32) * np.float32(1 / 255)
    step = Quantize(bits=8, scale=float(np.float32(1 / 255)), offset=0.0)
    stored, restored, used = through(step, values)
    assert np.array_equal(stored, pixels)
    assert restored.tobytes() == values.tobytes()
    assert used == step


def test_quantize_of_constants_is_exact():
    for value in (0.0, -2.5, 1e-40, 3e38, 1e38):
        _, restored, _ = through(Quantize(bits=1), np.full((2, 3), value, np.float32))
        assert (restored == np.float32(value)).all()


def test_quantize_refuses_what_it_cannot_hold():
    for value in (math.nan, math.inf):
        with pytest.raises(FormatError, match="NaN or infinity cannot be quantized"):
            Quantize(bits=8).encode(np.array([1.0, value], np.float32), "x")
    with pytest.raises(FormatError, match="span more than float32 can scale"):
        Quantize(bits=8).encode(np.array([-3e38, 3e38], np.float32), "x")
    with pytest.raises(ValueError, match="quantize takes float32, not float64"):
        Quantize(bits=8, scale=1.0, offset=0.0).stored_dtype("float64")


def test_many_small_blocks_take_no_more_memory_than_the_tensor():
    """Blocks that overhang on every axis must not be padded: that would take (4/3)**14 = 56 times the tensor's size."""
    shape, block = (3,) * 14, (2,) * 14
    grid = tuple(-(-n // b) for n, b in zip(shape, block, strict=True))
    step = Quantize(bits=8, block=block, scale="s", offset="s")
    import tracemalloc

    codes, sides = np.zeros(shape, np.uint8), {"s": np.ones(grid, np.float32)}
    tracemalloc.start()
    step.decode(codes, np.dtype("float32"), sides.__getitem__)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * codes.size * 4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_pack_that_cannot_be_quantized_says_which_tensor(bad, tmp_path):
    sources = np.zeros((7, 1, 6, 5), np.float32)
    sources[2, 0, 1, 1] = bad
    message = "tensor 'sources': NaN or infinity cannot be quantized"
    for choice in (Quantize(bits=8), {"name": "quantize", "configuration": {"bits": 4}}):
        with pytest.raises(FormatError, match=message):
            images(sources, {"sources": choice}, finite=False)
    pack = Pack.from_arrays(np.zeros_like(sources), [0, 1, 2, 0, 1, 2, 0], finite=False)
    pack.parts[0].sources[2, 0, 1, 1] = bad
    with pytest.raises(FormatError, match=message):
        pack.save(tmp_path / "x.dpk", encoding={"sources": Quantize(bits=8)})
    assert not list(tmp_path.iterdir())


def test_a_pack_that_a_quantization_does_not_fit_says_which_tensor():
    wide = np.zeros((7, 1, 6, 5), np.float32)
    wide[0], wide[1] = 3e38, -3e38
    with pytest.raises(FormatError, match="tensor 'sources': its values span more than float32 can scale"):
        images(wide, {"sources": Quantize(bits=8)})
    with pytest.raises(FormatError, match="tensor 'labels': quantize takes float32, not uint8"):
        images(encoding={"labels": Quantize(bits=8)})

"""Every encoding against an independent oracle."""

import io
import math

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsetpack.formats.encodings import Encoding, codec, encoding_names, spell
from dsetpack.formats.encodings.cast import Cast
from dsetpack.formats.encodings.quantize import Quantize, best_affine
from dsetpack.formats.encodings.shuffle import Shuffle
from dsetpack.formats.encodings.zstd import ZstdFrame, unpack_frame
from dsetpack.formats.errors import FormatError, VersionError

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=6)
FLOATS = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32))
FINITE = hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e6, 1e6, width=32))


def through(step, values):
    """Encoded and decoded again, by way of the manifest's spelling."""
    stored, used, sides = step.encode(values, "x")
    again = codec(spell(used))
    assert again == used
    assert stored.dtype.name == used.stored_dtype(values.dtype.name)
    assert stored.shape == values.shape
    assert {name: side.shape for name, side in sides.items()} == used.needs(values.shape)
    assert all(side.dtype == np.float32 for side in sides.values())
    return stored, again.decode(stored, values.dtype, sides.__getitem__), again


def test_all_encodings_are_tested_here():
    assert encoding_names() == ("cast", "quantize", "shuffle", "zstd")


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


@given(FINITE, st.integers(1, 8), st.data())
def test_quantize_stays_within_its_error_bound(values, bits, data):
    block = tuple(data.draw(st.integers(1, n)) for n in values.shape) if values.ndim else None
    whole = data.draw(st.booleans())
    stored, restored, _ = through(Quantize(bits=bits, block=None if whole else block), values)
    assert stored.max() < 2**bits
    assert restored.dtype == np.float32
    # Clipping is chosen by squared error, so the sum over each block is never above that of plain min/max.
    block = values.shape if whole or not values.ndim else block
    for cell in np.ndindex(*(-(-n // b) for n, b in zip(values.shape, block, strict=True))):
        where = tuple(slice(i * b, (i + 1) * b) for i, b in zip(cell, block, strict=True))
        piece = values[where].astype(np.float64)
        low, high = piece.min(), piece.max()
        step = (high - low) / (2**bits - 1)
        codes = np.rint((piece - low) / step) if step else np.zeros_like(piece)
        plain = np.square(codes * step + low - piece).sum()
        slack = piece.size * (8 * np.spacing(np.float32(max(abs(low), abs(high), 1e-30)))) ** 2
        edge = any(n % b for n, b in zip(values.shape, block, strict=True))  # edge blocks weigh repeated values
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
    """Blocks that overhang on every axis must not be spread past the tensor: (4/3)**14 would be 56 times its size."""
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


@given(st.sampled_from([2, 4, 8]), st.integers(0, 50), st.randoms())
def test_shuffle_is_a_transposition_of_bytes(itemsize, count, random):
    data = random.randbytes(itemsize * count)
    step = Shuffle(itemsize=itemsize)
    shuffled = step.encode(data)
    assert shuffled == b"".join(data[i::itemsize] for i in range(itemsize))
    assert step.decode(shuffled, len(data)) == data
    with pytest.raises(FormatError, match="shuffle: "):
        step.decode(shuffled + b"x", len(data))


@given(st.binary(max_size=300), st.integers(1, 22))
@settings(max_examples=20)
def test_zstd_frames_are_standard(data, level):
    packed = ZstdFrame(level=level).encode(data)
    assert zstandard.frame_content_size(packed) == len(data)
    assert zstandard.get_frame_parameters(packed).has_checksum
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read() == data
    assert ZstdFrame().decode(packed, len(data)) == data


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_flipped_bit_in_a_frame_is_seen(data, choose):
    packed = bytearray(ZstdFrame().encode(data))
    at = choose.draw(st.integers(0, 8 * len(packed) - 1))
    packed[at // 8] ^= 1 << at % 8
    try:
        assert unpack_frame(bytes(packed), len(data)) == data  # a reserved or unused bit
    except FormatError as error:
        assert "zstd frame" in str(error)  # noqa: PT017


def test_unknown_encodings_fail_by_name():
    with pytest.raises(
        VersionError, match=r"unknown encoding 'lzma'; this version knows cast, quantize, shuffle, zstd"
    ):
        codec(Encoding(name="lzma"))
    with pytest.raises(FormatError, match=r"encoding 'quantize': bits: .* less than or equal to 8"):
        codec(Encoding(name="quantize", configuration={"bits": 9}))
    with pytest.raises(FormatError, match="encoding 'zstd': speed: Extra inputs"):
        codec(Encoding(name="zstd", configuration={"speed": 9}))
    ignorable = {"speed": {"must_understand": False, "value": 9}}
    assert codec(Encoding(name="zstd", configuration=ignorable)) == ZstdFrame()

"""zstd frames are standard, and a damaged frame is noticed."""

import io

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dsetpack.formats.encodings.zstd import ZstdFrame, unpack_frame
from dsetpack.formats.errors import FormatError


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

"""Encodings by name."""

import pytest

from dsetpack.formats.encodings import Encoding, codec, encoding_names
from dsetpack.formats.encodings.zstd import ZstdFrame
from dsetpack.formats.errors import FormatError, VersionError


def test_all_encodings_are_tested_here():
    assert encoding_names() == ("cast", "quantize", "shuffle", "zstd")


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

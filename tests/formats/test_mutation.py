"""Every byte flipped and every length cut in turn: always noticed with an error of ours, and never a hang."""

import numpy as np
import pytest

from dsetpack import formats
from dsetpack.formats import FormatError, IntegrityError, LimitError, VersionError
from tests.support.format_packs import images

KNOWN = (FormatError, IntegrityError, LimitError, VersionError)


@pytest.fixture(scope="module")
def pack():
    sources = np.linspace(-1, 1, 48, dtype=np.float32).reshape(4, 1, 3, 4)
    data = images(sources, "int8")
    assert len(data) < 3000
    formats.verify(data, hdf5=False)
    return data


def refused(data, place):
    try:
        formats.verify(data, hdf5=False)
    except KNOWN:
        return
    raise AssertionError(f"{place} was not seen")


@pytest.mark.parametrize("flip", ["whole byte", "one bit"])
def test_every_byte_flipped(pack, flip):
    for at in range(len(pack)):
        mask = 0xFF if flip == "whole byte" else 1 << (at * 5 + at // 8) % 8
        refused(pack[:at] + bytes([pack[at] ^ mask]) + pack[at + 1 :], f"byte {at} ^ {mask:#x}")


def test_every_bit_of_the_header_flipped(pack):
    for at in range(256 * 8):
        changed = bytearray(pack)
        changed[at // 8] ^= 1 << at % 8
        refused(bytes(changed), f"bit {at}")


def test_every_length(pack):
    for length in range(len(pack)):
        with pytest.raises((FormatError, IntegrityError), match=r"empty|cut inside|are missing"):
            formats.Reader(pack[:length])
    for more in (b"\0", b"x" * 100, pack):
        with pytest.raises(IntegrityError, match="bytes were appended"):
            formats.Reader(pack + more)


def test_every_header_boundary_says_so(pack):
    for length in (8, 10, 12, 16, 24, 32, 40, 48, 80, 112, 176, 252, 255):
        with pytest.raises(IntegrityError, match=f"cut inside the header: {length} bytes found, 256 expected"):
            formats.Reader(pack[:length])
    for length in range(1, 8):
        with pytest.raises(IntegrityError, match="cut inside the magic number"):
            formats.Reader(pack[:length])
    stored = formats.Reader(pack).header.manifest_stored
    for length in (256, 257, 256 + stored, 1024, 1025, len(pack) - 1):
        with pytest.raises(IntegrityError, match=f"{length} bytes found, {len(pack)} expected: .* are missing"):
            formats.Reader(pack[:length])


def test_bytes_moved_and_repeated(pack):
    for start in range(0, len(pack) - 64, 97):
        piece = pack[start : start + 32]
        refused(pack[:start] + piece[::-1] + pack[start + 32 :] if piece != piece[::-1] else b"", f"reversed {start}")
        refused(pack[:start] + pack[start + 32 :] + piece, f"moved {start}")

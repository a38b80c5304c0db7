"""The header's 256 bytes: the round trip, and every way in which they can be wrong."""

from dataclasses import replace

import pytest

from dsetpack.formats import FormatError, IntegrityError, VersionError
from dsetpack.formats.header import MAGIC, SIZE, Header, unpack, user_block_size

HEADER = Header(1024, 5000, 300, 700, bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 128)), minor=9)


def test_there_and_back():
    data = HEADER.pack()
    assert len(data) == SIZE
    assert data[:8] == MAGIC
    assert unpack(data) == HEADER
    assert unpack(data + b"more") == HEADER
    assert unpack(replace(HEADER, key_id=bytes(32), signature=bytes(64)).pack()).signature == bytes(64)


@pytest.mark.parametrize(("stored", "block"), [(1, 512), (256, 512), (257, 1024), (768, 1024), (769, 2048)])
def test_the_user_block_is_the_smallest_power_of_two_that_holds_both(stored, block):
    assert user_block_size(stored) == block


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"major": 2, "minor": 5}, VersionError, "format 2.5 found, this version reads 1.x; update dsetpack"),
        ({"user_block": 4096}, FormatError, "user block of 4096 bytes found; 1024 or 2048 expected"),
        ({"user_block": 512}, FormatError, "user block of 512 bytes found"),
        ({"user_block": 1023}, FormatError, "user block of 1023 bytes found"),
        ({"file_length": 1023}, FormatError, "file length 1023 is less than its user block, 1024"),
    ],
)
def test_fields_that_cannot_be(change, error, message):
    with pytest.raises(error, match=message):
        unpack(replace(HEADER, **change).pack())


def test_twice_the_smallest_user_block_is_read():
    assert unpack(replace(HEADER, user_block=2048).pack()).user_block == 2048


@pytest.mark.parametrize("at", [12, 100, 200, 255])
def test_a_changed_byte_is_seen_by_the_checksum(at):
    data = bytearray(HEADER.pack())
    data[at] ^= 1
    with pytest.raises(IntegrityError, match="the header is damaged: checksum [0-9a-f]{8} found"):
        unpack(bytes(data))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", FormatError, "the file is empty"),
        (MAGIC[:5], IntegrityError, "cut inside the magic number: 5 bytes found"),
        (HEADER.pack()[:255], IntegrityError, "cut inside the header: 255 bytes found, 256 expected"),
        (HEADER.pack().replace(b"\r\n", b"\n"), FormatError, "damaged by a transfer in text mode"),
        (bytes(byte & 0x7F for byte in HEADER.pack()), FormatError, "damaged by a transfer in text mode"),
        (HEADER.pack().decode("latin-1").encode(), FormatError, "damaged by a transfer in text mode"),
        (b"\x89HDF\r\n\x1a\n" + bytes(300), FormatError, "not a .dpk: it starts with"),
    ],
    ids=["empty", "magic", "header", "newlines", "seven bits", "utf-8", "hdf5"],
)
def test_files_that_are_cut_damaged_or_something_else(data, error, message):
    with pytest.raises(error, match=message):
        unpack(data)

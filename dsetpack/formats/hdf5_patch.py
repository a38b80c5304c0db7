"""Three changes to a finished HDF5 file for which the HDF5 library has no call.

- The library stamps the superblock extension with the time even when told not to, so every write would differ.
- Beside a filter's number it writes the filter's name if some plugin has registered one, so bytes would depend on what
  else the process has imported. So the file is made with a number that nobody registers, which is replaced here.
- The size of the user block is known only once the manifest is, and the manifest needs the chunks' offsets.

The changes are in the superblock (version 3), in the extension's object header at a fixed place behind it, and in the
filter messages of the datasets' object headers (HDF5 File Format Specification 3.0, II.A, IV.A.1.b and IV.A.2.l), each
under a Jenkins checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from dsetpack.formats.errors import FormatError

SUPERBLOCK = slice(0, 44)
BASE_ADDRESS = 12
END_ADDRESS = 28
EXTENSION = 48
TIMES = slice(EXTENSION + 6, EXTENSION + 22)
_SIZE_BYTES, _ORDER_STORED, _PHASES_STORED, _TIMES_STORED = 0x03, 0x04, 0x10, 0x20
_FILTERS, _NAMED_FROM = 0x0B, 256
_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")


def without_times(image: bytes) -> bytes:
    """The HDF5 file with the four times of its superblock extension set to zero."""
    data = bytearray(image)
    _, end = _messages(data, EXTENSION)
    if data[8] != 3 or not data[EXTENSION + 5] & _TIMES_STORED:
        raise _unknown_layout()
    data[TIMES] = bytes(16)
    data[end : end + 4] = _U32.pack(lookup3(bytes(data[EXTENSION:end])))
    return bytes(data)


def with_filter(image: bytes, headers: Iterable[int], stand_in: int, number: int) -> bytes:
    """The HDF5 file with the number of a filter replaced.

    Args:
        image: the file.
        headers: the places of the object headers of the datasets that have this filter.
        stand_in, number: the number to replace and the right one, both >= 256.
    """
    data = bytearray(image)
    for at in headers:
        start, end = _messages(data, at)
        data[(place := _filter(data, at, start, end, stand_in)) : place + 2] = _U16.pack(number)
        data[end : end + 4] = _U32.pack(lookup3(bytes(data[at:end])))
    return bytes(data)


def _messages(data: bytearray, at: int) -> tuple[int, int]:
    """Start and end of the messages in the object header (version 2) at a place; its checksum follows."""
    if data[at : at + 5] != b"OHDR\x02":
        raise _unknown_layout()
    flags = data[at + 5]
    size_at = at + 6 + (16 if flags & _TIMES_STORED else 0) + (4 if flags & _PHASES_STORED else 0)
    start = size_at + (1 << (flags & _SIZE_BYTES))
    return start, start + int.from_bytes(data[size_at:start], "little")


def _filter(data: bytearray, header: int, start: int, end: int, number: int) -> int:
    """The place of a filter's number among the messages of an object header."""
    prefix = 6 if data[header + 5] & _ORDER_STORED else 4
    while start + prefix <= end:
        body, size = start + prefix, _U16.unpack_from(data, start + 1)[0]
        if data[start] == _FILTERS and data[body] == 2:
            at = body + 2
            for _ in range(data[body + 1]):
                found = _U16.unpack_from(data, at)[0]
                if found == number:
                    return at
                name = _U16.unpack_from(data, at + 2)[0] if found >= _NAMED_FROM else 0
                counts = at + (6 if found >= _NAMED_FROM else 4)
                at = counts + 2 + name + 4 * _U16.unpack_from(data, counts)[0]
        start = body + size
    raise _unknown_layout()


def _unknown_layout() -> FormatError:
    return FormatError("this version of the HDF5 library lays out files in a way that dsetpack does not know")


def behind(image: bytes, user_block: int) -> bytes:
    """The HDF5 file as it must be behind a user block: addresses count from the end of that block."""
    data = bytearray(image)
    data[BASE_ADDRESS : BASE_ADDRESS + 8] = _U64.pack(user_block)
    data[END_ADDRESS : END_ADDRESS + 8] = _U64.pack(user_block + len(image))
    data[SUPERBLOCK.stop : SUPERBLOCK.stop + 4] = _U32.pack(lookup3(bytes(data[SUPERBLOCK])))
    return bytes(data)


def lookup3(data: bytes) -> int:
    """Bob Jenkins' lookup3 hash (``hashlittle``, initial value 0), HDF5's metadata checksum."""
    a = b = c = (0xDEADBEEF + len(data)) & 0xFFFFFFFF
    if not data:
        return c
    words = struct.unpack(f"<{-(-len(data) // 12) * 3}I", data.ljust(-(-len(data) // 12) * 12, b"\0"))
    for at in range(0, len(words) - 3, 3):
        a, b, c = _mix(a + words[at], b + words[at + 1], c + words[at + 2])
    return _final(a + words[-3], b + words[-2], c + words[-1])


def _rotate(value: int, by: int) -> int:
    value &= 0xFFFFFFFF
    return (value << by | value >> (32 - by)) & 0xFFFFFFFF


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by_a, by_b, by_c in ((4, 6, 8), (16, 19, 4)):
        a, c = (a - c) ^ _rotate(c, by_a), c + b
        b, a = (b - a) ^ _rotate(a, by_b), a + c
        c, b = (c - b) ^ _rotate(b, by_c), b + a
    return a & 0xFFFFFFFF, b & 0xFFFFFFFF, c & 0xFFFFFFFF


def _final(a: int, b: int, c: int) -> int:
    for by in ((14, 11, 25), (16, 4, 14)):
        c = (c ^ b) - _rotate(b, by[0])
        a = (a ^ c) - _rotate(c, by[1])
        b = (b ^ a) - _rotate(a, by[2])
    return ((c ^ b) - _rotate(b, 24)) & 0xFFFFFFFF

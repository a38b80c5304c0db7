"""Two changes to a finished HDF5 file that its library offers no call for.

HDF5 stamps its superblock extension with the time even when told not to, which would make every write differ; and the
size of the user block is known only when the manifest is, which needs the chunks' offsets first. Both lie at fixed
places of the superblock (version 3) and of the extension's object header behind it (HDF5 File Format Specification
3.0, II.A and IV.A.1.b), under a Jenkins checksum.
"""

from __future__ import annotations

import struct

from dsetpack.formats.errors import FormatError

SUPERBLOCK = slice(0, 44)
BASE_ADDRESS = 12
END_ADDRESS = 28
EXTENSION = 48
TIMES = slice(EXTENSION + 6, EXTENSION + 22)
_TIMES_STORED, _SIZE_BYTES = 0x20, 0x03
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def without_times(image: bytes) -> bytes:
    """The HDF5 file with the four times of its superblock extension set to zero."""
    data = bytearray(image)
    known = data[8] == 3 and data[EXTENSION : EXTENSION + 5] == b"OHDR\x02" and data[EXTENSION + 5] & _TIMES_STORED
    if not known:
        raise FormatError("this version of the HDF5 library lays out files in a way that dsetpack does not know")
    data[TIMES] = bytes(16)
    width = 1 << (data[EXTENSION + 5] & _SIZE_BYTES)
    messages = TIMES.stop + width
    end = messages + int.from_bytes(data[TIMES.stop : messages], "little")
    data[end : end + 4] = _U32.pack(lookup3(bytes(data[EXTENSION:end])))
    return bytes(data)


def behind(image: bytes, user_block: int) -> bytes:
    """The HDF5 file as it reads behind a user block: addresses count from there."""
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

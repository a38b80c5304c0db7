"""The fixed 256-byte header at the start of every file (SPEC.md, "Header")."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from dsetpack.formats.errors import FormatError, IntegrityError, VersionError
from dsetpack.formats.words import plural

MAGIC = b"\x8aDPK\r\n\x1a\n"
"""As in PNG: the high bit catches 7-bit transfers, CR LF and LF catch text-mode ones, 0x1A stops a DOS listing."""
MAJOR, MINOR = 1, 0
SIZE = 256
MIN_USER_BLOCK = 512
_FIELDS = struct.Struct("<8sHHIQQQQ32s32s64s")  # 176 bytes; then zeros up to the CRC-32 in the last four bytes
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Header:
    """What must be known before the manifest can be read.

    Attributes:
        user_block: bytes before the HDF5 part: a power of two >= 512 that holds header and manifest, and at most
            twice the smallest such.
        file_length: bytes of the whole file.
        manifest_stored, manifest_plain: length of the manifest's zstd frame, and of the JSON in it.
        digest: SHA-256 of the manifest's stored bytes.
        key_id, signature: SHA-256 of the signer's public key and an Ed25519 signature; zeros if unsigned.
        major, minor: version of the format.
    """

    user_block: int
    file_length: int
    manifest_stored: int
    manifest_plain: int
    digest: bytes
    key_id: bytes = bytes(32)
    signature: bytes = bytes(64)
    major: int = MAJOR
    minor: int = MINOR

    def pack(self) -> bytes:
        """The header's 256 bytes."""
        fields = _FIELDS.pack(
            MAGIC,
            self.major,
            self.minor,
            0,
            self.user_block,
            self.file_length,
            self.manifest_stored,
            self.manifest_plain,
            self.digest,
            self.key_id,
            self.signature,
        )
        body = fields.ljust(SIZE - _CRC.size, b"\0")
        return body + _CRC.pack(zlib.crc32(body))


def user_block_size(manifest_stored: int) -> int:
    """The smallest power of two >= 512 that holds header and manifest."""
    return max(MIN_USER_BLOCK, 1 << (SIZE + manifest_stored - 1).bit_length())


def unpack(data: bytes) -> Header:
    """Read and check a header.

    Args:
        data: the first 256 bytes of the file, or all of a shorter one.

    Raises:
        FormatError: if it is not a ``.dpk``, was damaged by a text-mode transfer, or has impossible sizes.
        VersionError: if it has another major version.
        IntegrityError: if it is cut inside the header, or if the checksum disagrees.
    """
    _check_magic(data)
    if len(data) < SIZE:
        raise IntegrityError(f"cut inside the header: {plural(len(data), 'byte')} found, {SIZE} expected")
    _, major, minor, reserved, block, length, stored, plain, digest, key_id, signature = _FIELDS.unpack_from(data)
    if major != MAJOR:
        raise VersionError(f"format {major}.{minor} found, this version reads {MAJOR}.x; update dsetpack")
    body, (crc,) = data[: SIZE - _CRC.size], _CRC.unpack_from(data, SIZE - _CRC.size)
    if (found := zlib.crc32(body)) != crc:
        raise IntegrityError(f"the header is damaged: checksum {found:08x} found, {crc:08x} expected")
    if reserved or any(body[_FIELDS.size :]):
        raise FormatError("the header's reserved bytes are not zero")
    header = Header(block, length, stored, plain, digest, key_id, signature, major, minor)
    _check_sizes(header)
    return header


def _check_magic(data: bytes) -> None:
    if data[: len(MAGIC)] == MAGIC:
        return
    if data and MAGIC.startswith(data):
        raise IntegrityError(f"cut inside the magic number: {plural(len(data), 'byte')} found")
    if data[:4] in (b"\x8aDPK", b"\x0aDPK", b"\xc2\x8aDP", b"\xef\xbf\xbdD"):
        raise FormatError(f"damaged by a transfer in text mode ({data[:8]!r} found); transfer it as binary")
    if not data:
        raise FormatError("the file is empty")
    raise FormatError(f"not a .dpk: it starts with {data[:8]!r}, {MAGIC!r} expected")


def _check_sizes(header: Header) -> None:
    block, smallest = header.user_block, user_block_size(header.manifest_stored)
    if block not in (smallest, 2 * smallest):
        raise FormatError(f"user block of {block} bytes found; {smallest} or {2 * smallest} expected")
    if header.file_length < block:
        raise FormatError(f"file length {header.file_length} is less than its user block, {block}")

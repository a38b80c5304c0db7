"""``zstd``: one Zstandard frame per chunk (HDF5's registered filter 32015)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import zstandard
from pydantic import Field
from typing_extensions import override

from dsetpack.formats.encodings.base import ByteCodec
from dsetpack.formats.errors import FormatError


class ZstdFrame(ByteCodec):
    """A frame that declares its content size and carries a checksum, so that other tools can check it too."""

    name: ClassVar[str] = "zstd"
    level: Annotated[int, Field(ge=1, le=22)] = 19

    @override
    def encode(self, data: bytes) -> bytes:
        return pack_frame(data, self.level)

    @override
    def decode(self, data: bytes, size: int) -> bytes:
        return unpack_frame(data, size)


def pack_frame(data: bytes, level: int = 19, size: int | None = None, **changes: int) -> bytes:
    """Compress into one frame that has the size of its content and a checksum.

    Args:
        data: the content.
        level: 1 to 22.
        size: the size for which the level chooses zstd's parameters; by default that of the content.
        changes: parameters by their names in ``zstandard``, instead of the level's.
    """
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(data) if size is None else size, write_checksum=True, write_content_size=True, **changes
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def unpack_frame(data: bytes, size: int) -> bytes:
    """Decompress exactly one frame of exactly ``size`` bytes.

    The declared size is compared first: ``zstandard`` trusts it regardless of ``max_output_size``, so a frame of 32 KB
    could otherwise take a gigabyte.

    Raises:
        FormatError: if the frame is damaged, declares another size or no size, or is followed by other bytes.
    """
    try:
        declared = zstandard.frame_content_size(data)
        if declared != size:
            found = "no size" if declared < 0 else f"{declared} bytes"
            raise FormatError(f"a zstd frame declares {found}, {size} bytes expected")
        plain = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"a zstd frame is damaged: {error}") from None
    if len(plain) != size:
        raise FormatError(f"a zstd frame holds {len(plain)} bytes, {size} expected")
    return plain


CODEC = ZstdFrame

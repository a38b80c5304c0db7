"""Checks of the sizes of files and zip archives, before memory is allocated."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dsetpack.formats.errors import FormatError, LimitError
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable

DEFLATE = 1032
"""The highest compression ratio of deflate; an archive that claims a higher one is not honest."""


def check_size(path: Path, limits: Limits) -> None:
    """Check that the file exists and is not larger than ``limits.total``.

    Raises:
        FormatError: if the file does not exist.
        LimitError: if the file is larger.
    """
    if not path.is_file():
        raise FormatError("no such file")
    if (size := path.stat().st_size) > limits.total:
        raise LimitError(f"{size:,} bytes; at most {limits.total:,} are read: raise limits.total if you trust it")


def open_zip(path: Path, limits: Limits) -> zipfile.ZipFile:
    """Open a zip archive, and check that the declared sizes of its members are allowed and possible.

    Raises:
        FormatError: if it is not a complete zip archive, if two members have one name, or if sizes cannot be true.
        LimitError: if the members declare more than ``limits.total`` bytes.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise FormatError(f"not a whole zip archive ({printable(str(error))}): cut off? fetch it again") from error
    try:
        _check_members(archive, path.stat().st_size, limits)
    except BaseException:
        archive.close()
        raise
    return archive


def _check_members(archive: zipfile.ZipFile, size: int, limits: Limits) -> None:
    members = archive.infolist()
    declared = sum(member.file_size for member in members)
    if declared > limits.total:
        raise LimitError(
            f"{size:,} bytes that declare {declared:,} unpacked; at most {limits.total:,} are read: raise limits.total "
            "if you trust it"
        )
    if len({member.filename for member in members}) != len(members):
        raise FormatError("a zip archive with two members of one name")
    if declared > DEFLATE * size:
        raise FormatError(f"{size:,} bytes that declare {declared:,} unpacked, more than any compression gives")

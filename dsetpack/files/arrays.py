"""The arrays of an ``.npz`` file, or of the ``.npy`` files in a folder; a set of arrays is either, and has names.

Sizes are checked before memory is allocated, and nothing is unpickled. Only the arrays that are asked for are looked
at.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsetpack.files.limited import check_size, open_zip
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable

SUFFIX = ".npy"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


class Header(NamedTuple):
    """The shape and dtype that an ``.npy`` file declares."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """The bytes of the array's values."""
        return math.prod(self.shape) * self.dtype.itemsize


def names_in(path: Path, limits: Limits) -> tuple[str, ...]:
    """The names of the arrays of a set, sorted; nothing of them is read.

    Raises:
        FormatError: if it is neither a folder nor a complete ``.npz`` file.
        LimitError: if the file is larger, or declares more, than ``limits.total`` bytes.
    """
    if path.is_dir():
        return tuple(sorted(file.stem for file in path.glob(f"*{SUFFIX}") if file.is_file()))
    with at(str(path)):
        check_size(path, limits)
        with open_zip(path, limits) as archive:
            return tuple(sorted(_members(archive)))


def headers(path: Path, names: Iterable[str], limits: Limits) -> dict[str, Header]:
    """Read what some arrays of a set declare, by name; no values are read.

    Raises:
        FormatError: if an array does not exist, is not one of plain numbers or text (object arrays are pickles), or
            if sizes disagree.
        LimitError: as for ``names_in``.
    """
    wanted, known = tuple(names), names_in(path, limits)
    with at(str(path)):
        if missing := [name for name in wanted if name not in known]:
            raise FormatError(f"no array {missing[0]!r}; it holds {printable(', '.join(known)) or 'nothing'}")
    if path.is_dir():
        return {name: _checked(path / f"{name}{SUFFIX}", limits) for name in wanted}
    found: dict[str, Header] = {}
    with at(str(path)), open_zip(path, limits) as archive:
        members = _members(archive)
        for name in wanted:
            with at(f"array {printable(name)!r}"):
                with _sound("damaged"):
                    file = archive.open(members[name])
                with file:
                    found[name] = _header(file, members[name].file_size, "damaged")
    return found


def load_arrays(path: Path, names: Iterable[str], limits: Limits) -> dict[str, NDArray[Any]]:
    """Load some arrays of a set.

    Raises:
        FormatError: as for ``headers``, or if an array is damaged.
        LimitError: as for ``names_in``.
    """
    wanted = tuple(names)
    headers(path, wanted, limits)
    if path.is_dir():
        return {name: load_npy(path / f"{name}{SUFFIX}", limits) for name in wanted}
    with at(str(path)), open_zip(path, limits) as archive, _sound("a damaged .npz file", ": fetch it again"):
        members = _members(archive)
        return {name: _values(archive, members[name]) for name in wanted}


def load_npy(path: Path, limits: Limits) -> NDArray[Any]:
    """Load the array of an ``.npy`` file.

    Raises:
        FormatError: if it is not a whole file of plain numbers or text, or if sizes disagree.
        LimitError: if the file is larger than ``limits.total`` bytes.
    """
    _checked(path, limits)
    with at(str(path)), _sound("not a sound .npy file"):
        values: NDArray[Any] = np.load(path, allow_pickle=False)
    return values


def _checked(path: Path, limits: Limits) -> Header:
    with at(str(path)):
        check_size(path, limits)  # the values are the rest of the file, as _header proves
        with path.open("rb") as file:
            return _header(file, path.stat().st_size, "not a sound .npy file")


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by the names of their arrays; ``x.npy`` rather than a member ``x`` that is no array."""
    return {member.filename.removesuffix(SUFFIX): member for member in sorted(archive.infolist(), key=_is_npy)}


def _is_npy(member: zipfile.ZipInfo) -> bool:
    return member.filename.endswith(SUFFIX)


def _values(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        values: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return values


@contextmanager
def _sound(otherwise: str, advice: str = "") -> Iterator[None]:
    """Turn the various errors of numpy and ``zipfile`` into one: ``otherwise``, why, ``advice``."""
    try:
        yield
    except _BROKEN as error:
        raise FormatError(f"{otherwise} ({printable(str(error))}){advice}") from error


def _header(file: IO[bytes], size: int, otherwise: str) -> Header:
    with _sound(otherwise):
        version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise FormatError(f"it has the .npy version {version}; plain numbers have 1.0 or 2.0")
    try:
        shape, _, dtype = _HEADERS[version](file)
    except Exception as error:  # numpy parses the header as Python text, which can fail in many ways
        raise FormatError(f"a damaged header ({printable(str(error))[:160]})") from error
    found = Header(tuple(map(int, shape)), dtype)
    if dtype.hasobject:
        raise FormatError(
            "an object array, a pickle that may run code, so it is not read: save plain numbers, such as "
            "np.save(path, np.stack(list)) or np.savez(path, images=np.stack(list), labels=np.array(labels))"
        )
    if dtype.kind not in "biufU":
        raise FormatError(f"{dtype}; numbers expected")
    if found.bytes != size - file.tell():
        raise FormatError(f"it declares {found.bytes:,} bytes and holds {size - file.tell():,}: damaged or cut off")
    return found

"""Reading of ``.npz`` and ``.npy`` files: sizes are checked before memory is allocated, and nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsetpack.convert._files import check_size, open_zip
from dsetpack.formats.errors import FormatError, at
from dsetpack.formats.limits import Limits
from dsetpack.formats.model import printable

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, SyntaxError)


class Header(NamedTuple):
    """The shape and dtype that an ``.npy`` file declares."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """The bytes of the array's values."""
        return math.prod(self.shape) * self.dtype.itemsize


def headers(path: Path, limits: Limits) -> dict[str, Header]:
    """Read what each array of an ``.npz`` file declares, by name; no values are read.

    Raises:
        FormatError: if it is not a complete file of plain arrays (object arrays are pickles), or if sizes disagree.
        LimitError: if the file is larger, or declares more, than ``limits.total`` bytes.
    """
    found: dict[str, Header] = {}
    with at(str(path)):
        check_size(path, limits)
        with open_zip(path, limits) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                with at(f"array {printable(name)!r}"):
                    with _sound("damaged"):
                        file = archive.open(member)
                    with file:
                        found[name] = _header(file, member.file_size, "damaged")
    return found


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
        raise FormatError("a damaged header: fetch it again") from error
    found = Header(tuple(map(int, shape)), dtype)
    if dtype.hasobject:
        raise FormatError(
            "an object array, a pickle that may run code, so it is not read: save plain numbers, such as "
            "np.savez(path, images=np.stack(list), labels=np.array(labels, dtype=np.int64))"
        )
    if dtype.kind not in "biufU":
        raise FormatError(f"{dtype}; numbers expected")
    if found.bytes != size - file.tell():
        raise FormatError(f"it declares {found.bytes:,} bytes and holds {size - file.tell():,}: damaged or cut off")
    return found


def load_npz(path: Path, names: Iterable[str], limits: Limits) -> dict[str, NDArray[Any]]:
    """Load some arrays of an ``.npz`` file.

    Raises:
        FormatError: as for ``headers``, or if an array does not exist or is damaged.
        LimitError: as for ``headers``.
    """
    declared, wanted = headers(path, limits), list(names)
    with at(str(path)):
        if missing := [name for name in wanted if name not in declared]:
            raise FormatError(f"no array {missing[0]!r}; it holds {printable(', '.join(sorted(declared)))}")
        with _sound("a damaged .npz file", ": fetch it again"), np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in wanted}


def load_npy(path: Path, limits: Limits) -> NDArray[Any]:
    """Load the array of an ``.npy`` file.

    Raises:
        FormatError, LimitError: as for ``headers``.
    """
    otherwise = "not a sound .npy file"
    with at(str(path)):
        check_size(path, limits)  # the values are the rest of the file, as _header proves
        with path.open("rb") as file:
            _header(file, path.stat().st_size, otherwise)
        with _sound(otherwise):
            values: NDArray[Any] = np.load(path, allow_pickle=False)
    return values


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Copy a plain array to a tensor in the machine's byte order.

    Raises:
        FormatError: if the array holds text, or if torch does not have its dtype.
    """
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise FormatError(f"{array.dtype}; numbers of at most 64 bits expected")
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(native.reshape(array.shape).copy())

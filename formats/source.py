"""Where bytes come from: a path, bytes, a file object or any fsspec URL, behind one ``read(offset, length)``."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dsetpack.formats.errors import DsetpackError, IntegrityError

PathLike = str | os.PathLike[str]
Readable = PathLike | bytes | bytearray | memoryview | BinaryIO


class Source(Protocol):
    """Random access to a file's bytes; ``read`` may be called from several threads."""

    name: str

    def size(self) -> int:
        """Bytes in the file."""

    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; fewer only at the end of the file."""

    def close(self) -> None:
        """Release what this object opened itself."""


class FileSource:
    """A seekable binary file object."""

    def __init__(self, file: BinaryIO, name: str, *, owned: bool) -> None:
        self.name, self._file, self._owned, self._lock = name, file, owned, threading.Lock()

    def size(self) -> int:
        with self._lock:
            return self._file.seek(0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)

    def close(self) -> None:
        if self._owned:
            self._file.close()


class PathSource(FileSource):
    """A local file, read by position: threads and forked processes share the handle safely."""

    def read(self, offset: int, length: int) -> bytes:
        if not hasattr(os, "pread"):  # Windows
            return super().read(offset, length)
        parts, fileno = [], self._file.fileno()
        while length > 0 and (part := os.pread(fileno, length, offset)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)


class UrlSource:
    """A file behind an fsspec URL; every read is one range request."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.name = url
        try:
            self._fs, self._path = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise DsetpackError(f"{url}: cannot be opened: {error}") from None

    def size(self) -> int:
        size = self._ask(lambda: self._fs.info(self._path)["size"])
        if not isinstance(size, int):
            raise DsetpackError(f"{self.name}: the server does not tell the file's size")
        return size

    def read(self, offset: int, length: int) -> bytes:
        data: bytes = self._ask(lambda: self._fs.cat_file(self._path, start=offset, end=offset + length))
        if len(data) > length:
            raise IntegrityError(
                f"{self.name}: the server ignores range requests ({len(data)} bytes sent, {length} asked for); "
                "download the file and open it by path"
            )
        return data

    def _ask(self, request: Any) -> Any:
        try:
            return request()
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "no such file", self.name) from None
        except DsetpackError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise DsetpackError(f"{self.name}: cannot be read: {error!r}") from error

    def close(self) -> None:
        """Nothing is held open."""


def source(where: Readable) -> Source:
    """Open what a caller may name.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: as Python's ``open``, with the path.
        TypeError: not a path, URL, bytes or binary file object.
    """
    if isinstance(where, bytes | bytearray | memoryview):
        return FileSource(io.BytesIO(where), "<bytes>", owned=True)
    if isinstance(where, str) and "://" in where:
        return UrlSource(where)
    if isinstance(where, str | os.PathLike):
        path = Path(where)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a directory, not a .dpk file", str(path))
        return PathSource(path.open("rb"), str(path), owned=True)
    if hasattr(where, "read") and hasattr(where, "seek"):
        return FileSource(where, str(getattr(where, "name", "<file object>")), owned=False)
    raise TypeError(f"a path, URL, bytes or binary file object expected, not {type(where).__name__}")

"""Where bytes come from: a path, bytes, a file object or any fsspec URL, behind one ``read(offset, length)``."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
import weakref
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from typing_extensions import override

from dsetpack.formats.errors import DsetpackError, FormatError, IntegrityError
from dsetpack.formats.network import unreachable, why

PathLike = str | os.PathLike[str]
Readable = PathLike | bytes | bytearray | memoryview | BinaryIO
_OPTIONS = {"hf": {"block_size": 1}}
"""Options by protocol. The Hugging Face Hub's file system would read 5 MB ahead after every range."""


class Source(Protocol):
    """Random access to a file's bytes; ``read`` may be called from several threads."""

    name: str

    def size(self) -> int:
        """The size of the file in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Read ``length`` bytes from ``offset``; fewer only at the end of the file."""

    def close(self) -> None:
        """Release what this object opened itself."""


class FileSource(Source):
    """A seekable binary file object.

    Forked processes share the position of a file of the system: only the process that opened such a file reads it.
    """

    def __init__(self, file: BinaryIO, name: str, *, owned: bool) -> None:
        if isinstance(file, io.TextIOBase):  # type: ignore[unreachable]
            raise TypeError(f"{name}: a binary file expected; it reads str")
        self.name, self._file, self._owned, self._lock = name, file, owned, threading.Lock()
        self._process = os.getpid() if _has_handle(file) else None

    @override
    def size(self) -> int:
        with self._lock:
            self._file.seek(0, os.SEEK_END)
            return self._file.tell()  # an mmap's seek returns nothing before Python 3.13

    @override
    def read(self, offset: int, length: int) -> bytes:
        if self._process not in (None, os.getpid()):
            raise DsetpackError(
                "a file object that another process opened, and whose position it shares: open the file by its path, "
                "or use the pack once before the processes begin"
            )
        parts = []
        with self._lock:
            self._file.seek(offset)
            while length > 0 and (part := self._file.read(length)):  # a raw file may return fewer bytes than it has
                if not isinstance(part, bytes):
                    raise TypeError(f"{self.name}: a binary file expected; it reads {type(part).__name__}")
                parts.append(part)
                length -= len(part)
        return b"".join(parts)

    @override
    def close(self) -> None:
        if self._owned:
            self._file.close()


def _has_handle(file: BinaryIO) -> bool:
    try:
        return file.fileno() >= 0
    except (AttributeError, OSError):
        return False


class PathSource(Source):
    """A local file, read by position: threads and forked processes share the handle safely.

    ``close`` or the end of this object closes the handle, so a pack that is opened and dropped leaves nothing open.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._lock = str(path), threading.Lock()
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        self._finalizer = weakref.finalize(self, os.close, self._handle)

    @override
    def size(self) -> int:
        return os.fstat(self._handle).st_size

    @override
    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := self._read_some(offset, length)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def _read_some(self, offset: int, length: int) -> bytes:
        if not self._finalizer.alive:
            raise ValueError(f"{self.name}: read after close")
        if hasattr(os, "pread"):
            return os.pread(self._handle, length, offset)
        with self._lock:  # Windows
            os.lseek(self._handle, offset, os.SEEK_SET)
            return os.read(self._handle, length)

    @override
    def close(self) -> None:
        self._finalizer()


class UrlSource(Source):
    """A file behind an fsspec URL; every read is one range request. A forked process makes a connection of its own.

    The bytes of the first read are kept: for a small pack that is the whole file, and no other request follows. So is
    the whole file, if the server does not know ranges.
    """

    def __init__(self, url: str) -> None:
        self.name = self._url = url
        self._head = b""
        self._connect()

    def _connect(self) -> None:
        from fsspec.core import url_to_fs

        try:
            self._fs, self._path = url_to_fs(self._url, **_OPTIONS.get(self._url.partition("://")[0], {}))
        except Exception as error:  # each file system has errors of its own
            raise DsetpackError(f"{self._url}: cannot be opened: {why(error)}") from error
        self._process = os.getpid()

    @override
    def size(self) -> int:
        size = self._ask(lambda: self._fs.size(self._path))  # info() of fsspec's caches would list the folder
        if not isinstance(size, int):
            raise DsetpackError("the server does not give the file's size")
        return size

    @override
    def read(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self._head):
            return self._head[offset : offset + length]
        data: bytes = self._ask(lambda: self._fs.cat_file(self._path, start=offset, end=offset + length))
        if len(data) > length:
            self._keep_whole(data, length)
            return data[offset : offset + length]
        if offset == 0 and not self._head:
            self._head = data
        return data

    def _keep_whole(self, data: bytes, length: int) -> None:
        """Keep what a server sent that ignores ranges, if it is the whole file."""
        if len(data) != (size := self.size()):
            raise IntegrityError(
                f"the server ignores range requests ({len(data)} bytes sent, {length} asked for, and the file has "
                f"{size}); download the file and open it by path"
            )
        self._head = data

    def _ask(self, request: Any) -> Any:
        if self._process != os.getpid():
            self._connect()
        try:
            return request()
        except FileNotFoundError as error:
            if unreachable(error):
                raise DsetpackError(f"cannot be read: {why(error)}") from error
            raise FileNotFoundError(errno.ENOENT, "no such file", self.name) from None
        except DsetpackError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise DsetpackError(f"cannot be read: {why(error)}") from error

    @override
    def close(self) -> None:
        """Nothing is held open."""


def source(where: Readable) -> Source:
    """Open a path, URL, bytes or binary file object.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: as from Python's ``open``, with the path.
        FormatError: if it is a pipe, socket or device.
        DsetpackError: if the file system of a URL cannot be opened.
        TypeError: if it is something else.
    """
    if isinstance(where, bytes | bytearray | memoryview):
        return FileSource(io.BytesIO(where), "<bytes>", owned=True)
    if isinstance(where, str) and "://" in where:
        return UrlSource(where)
    if isinstance(where, str | os.PathLike):
        path = Path(where)
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a directory, not a .dpk file", str(path))
        if not stat.S_ISREG(mode):  # opening a pipe would wait for a writer
            raise FormatError(f"{path}: not a regular file; read it into memory and open the bytes")
        return PathSource(path)
    if hasattr(where, "read") and hasattr(where, "seek"):
        return FileSource(where, str(getattr(where, "name", "<file object>")), owned=False)
    raise TypeError(f"a path, URL, bytes or binary file object expected, not {type(where).__name__}")

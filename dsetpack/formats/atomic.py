"""Replace a file in one step, so that a crash at any instant leaves either the old file or the new one intact."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsetpack.formats.errors import DsetpackError

SUFFIX = ".dpk-tmp"
_PIECE = 1 << 24
_POSIX = os.name == "posix"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_LOOK = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)  # opening a pipe would block
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:/")
"""One slash is enough: a ``Path`` leaves no more of a URL. A single letter is a Windows drive and does not match."""


def check_writable(path: str | os.PathLike[str]) -> None:
    """Fail now if ``write_atomically`` would fail before its first byte; otherwise change nothing.

    This is for work whose result is saved at its end. A temporary file is made and removed, because no other test is
    reliable.

    Raises:
        DsetpackError: if ``path`` is a URL.
        OSError: if ``path`` is a folder or not a regular file, if its folder does not exist, or if writing there is not
            permitted; the error names ``path``.
    """
    target, permissions = _target(path)
    with _naming(path):
        handle, temporary = _create(target, permissions)
        os.close(handle)
        temporary.unlink()


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, flush it to the disk, and rename it over ``path``.

    Temporary files that a killed writer of the same path left behind are removed first. One that another process
    is writing is protected by a lock and stays. A symbolic link stays, and its target is replaced. The permissions of
    a replaced file are kept, and hold for the new one from the start.

    Raises:
        DsetpackError: if ``path`` is a URL.
        OSError: if the operating system refuses, or if ``path`` is not a regular file; ``path`` is then as it was, and
            no temporary file is left.
    """
    target, permissions = _target(path)
    _clean_stale(target)
    with _naming(path):
        _replace(target, permissions, data)
    _sync_directory(target.parent)


def _replace(path: Path, permissions: int | None, data: bytes) -> None:
    handle, temporary = _create(path, permissions)
    try:
        try:
            _write(handle, data)
            if permissions is not None and hasattr(os, "fchmod"):
                with suppress(OSError):
                    os.fchmod(handle, permissions)
            os.fsync(handle)
            if _POSIX:  # rename while the lock is held
                os.replace(temporary, path)  # noqa: PTH105  (patched by tests that inject failures)
        finally:
            os.close(handle)
        if not _POSIX:  # Windows cannot rename an open file
            os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make errors name the path that the caller gave, not the temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), os.fspath(path)) from error


def _target(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """The file behind all links, and its permission bits, or None if it does not exist yet."""
    if _URL.match(os.fspath(path)):
        raise DsetpackError(f"{path}: files are written to local paths; write one and upload it")
    with _naming(path):
        real = Path(os.path.realpath(path))
        return real, _permissions(real)


def _permissions(path: Path) -> int | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            return None
        raise FileNotFoundError(errno.ENOENT, "cannot be written: its folder does not exist", str(path)) from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "cannot be written: it is a directory", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "cannot be replaced: it is not a regular file", str(path))
    return stat.S_IMODE(mode)


def _create(path: Path, permissions: int | None) -> tuple[int, Path]:
    """Create and lock a temporary file. Whoever cannot read the file that it will replace cannot read it either."""
    while True:
        temporary = path.with_name(f"{_stem(path)}{secrets.token_hex(8)}{SUFFIX}")
        handle = os.open(temporary, _FLAGS, 0o666 if permissions is None else permissions | stat.S_IWUSR)
        _lock(handle, wait=True)
        if temporary.exists():
            return handle, temporary
        os.close(handle)  # before it was locked, another writer took it for a stale one


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest[:_PIECE]) :]


def _clean_stale(path: Path) -> None:
    for left in path.parent.glob(f"{_escape(_stem(path))}*{SUFFIX}"):
        with suppress(OSError):
            handle = os.open(left, _LOOK)
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle, wait=False):
                    left.unlink()
            finally:
                os.close(handle)


def _stem(path: Path) -> str:
    """The start of the names of a path's temporary files, short enough for a file name."""
    name = path.name
    if len(os.fsencode(name)) > 200:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def _escape(name: str) -> str:
    """A file name in which ``*``, ``?`` and ``[`` stand for themselves."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _lock(handle: int, *, wait: bool) -> bool:
    """Take the file's lock and return whether that worked. The lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to remove a file that is open elsewhere
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _sync_directory(path: Path) -> None:
    """Make the rename itself durable, if directories can be opened."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Replace a file in one step, so that a crash at any instant leaves the old file or the new one, whole."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

SUFFIX = ".dpk-tmp"
_PIECE = 1 << 24
_POSIX = os.name == "posix"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, flush it to the disk, and rename it over ``path``.

    Temporary files that a killed writer of the same path left behind are removed first. One that another process
    is writing now is held by a lock and stays. A symbolic link stays and what it names is replaced; permissions of
    a file that is replaced are kept.

    Raises:
        OSError: as the operating system says, or ``path`` is no regular file; ``path`` is then as it was, and no
            temporary file is left. Only where flushing the folder failed may the new file be there already.
    """
    path = Path(os.path.realpath(path))
    permissions = _permissions(path)
    _clean_stale(path)
    handle, temporary = _create(path)
    try:
        try:
            _write(handle, data)
            if permissions is not None and hasattr(os, "fchmod"):
                with suppress(OSError):
                    os.fchmod(handle, permissions)
            os.fsync(handle)
            if _POSIX:  # while the lock is held
                os.replace(temporary, path)  # noqa: PTH105  (patched by tests that inject failures)
        finally:
            os.close(handle)
        if not _POSIX:  # Windows renames no open file
            os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(path.parent)


def _permissions(path: Path) -> int | None:
    """Permission bits of the file to be replaced, None where there is none yet."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "cannot be written: it is a directory", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "cannot be replaced: it is not a regular file", str(path))
    return stat.S_IMODE(mode)


def _create(path: Path) -> tuple[int, Path]:
    """A new temporary file, open and locked."""
    while True:
        temporary = path.with_name(f"{_stem(path)}{secrets.token_hex(8)}{SUFFIX}")
        handle = os.open(temporary, _FLAGS, 0o666)
        _lock(handle, wait=True)
        if temporary.exists():
            return handle, temporary
        os.close(handle)  # another writer took it for a stale one before it was locked


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest[:_PIECE]) :]


def _clean_stale(path: Path) -> None:
    for left in path.parent.glob(f"{_escape(_stem(path))}*{SUFFIX}"):
        with suppress(OSError), left.open("rb") as file:
            if _lock(file.fileno(), wait=False):
                left.unlink()


def _stem(path: Path) -> str:
    """How the names of a path's temporary files begin; no longer than file names may be."""
    name = path.name
    if len(os.fsencode(name)) > 200:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def _escape(name: str) -> str:
    """A file name in which ``*``, ``?`` and ``[`` stand for themselves."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _lock(handle: int, *, wait: bool) -> bool:
    """Take the file's lock; True where that worked. The lock ends with the process."""
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
    """Make the rename itself durable, where directories can be opened."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Replace a file in one step, so that a crash at any instant leaves the old file or the new one, whole."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

SUFFIX = ".dpk-tmp"


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, flush it to the disk, and rename it over ``path``.

    Temporary files that a killed writer of the same path left behind are removed first. One that another process
    is writing now is held by a lock and stays.

    Raises:
        OSError: as the operating system says; ``path`` is then as it was, and no temporary file is left.
    """
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    _clean_stale(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{SUFFIX}")
    try:
        with temporary.open("xb") as file:
            _lock(file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105  (patched by tests that inject failures)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _clean_stale(path: Path) -> None:
    for left in path.parent.glob(f".{glob_escape(path.name)}.*{SUFFIX}"):
        with suppress(OSError), left.open("rb") as file:
            if _lock(file.fileno()):
                left.unlink()


def glob_escape(name: str) -> str:
    """A file name in which ``*``, ``?`` and ``[`` stand for themselves."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _lock(fileno: int) -> bool:
    """Take the file's lock without waiting; True where that worked. The lock ends with the process."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to remove a file that is open elsewhere
        return True
    try:
        fcntl.flock(fileno, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

"""Why a server could not be asked, in one line: the libraries below wrap errors in errors, and show all of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

_OF_FILES = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors of files on this machine, of which no server says anything; their own words are shown."""


def why(error: BaseException) -> str:
    """Why a request failed: what the operating system says, the HTTP status, or the error's own first line."""
    chain = list(_chain(error))
    for inner in reversed(chain):
        if isinstance(inner, TimeoutError):
            return "no answer in time"
        if isinstance(inner, OSError) and inner.strerror and not isinstance(inner, _OF_FILES):
            return f"the server cannot be reached ({inner.strerror.strip()})"
    for inner in chain:
        if (status := _status(inner)) is not None:
            return f"the server answers with HTTP status {status}"
    return next(iter(str(error).splitlines()), "").strip() or type(error).__name__


def unreachable(error: BaseException) -> bool:
    """Whether a server did not answer at all; a library may report that as a missing file."""
    return any(isinstance(inner, ConnectionError | TimeoutError | socket.gaierror) for inner in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it came from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _status(error: BaseException) -> int | None:
    found = getattr(getattr(error, "response", error), "status_code", getattr(error, "status", None))
    return found if isinstance(found, int) else None

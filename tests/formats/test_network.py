"""Why a server could not be asked: one line, whatever a library wraps it in."""

from __future__ import annotations

import socket

import pytest

from dsetpack.formats.errors import DsetpackError
from dsetpack.formats.network import unreachable, why
from dsetpack.formats.source import source

LOOKUP = socket.gaierror(-2, "Name or service not known")


class StatusError(Exception):
    """As of an HTTP library."""

    status = 503


def wrapped(error: Exception, *layers: Exception) -> Exception:
    """An error inside others, as ``raise ... from`` nests them."""
    for layer in layers:
        layer.__cause__ = error
        error = layer
    return error


@pytest.mark.parametrize(
    ("error", "said", "off"),
    [
        (LOOKUP, "the server cannot be reached (Name or service not known)", True),
        (
            wrapped(
                LOOKUP, RuntimeError("Max retries exceeded with url: /x (Caused by ...)"), ValueError("[Errno -2]")
            ),
            "the server cannot be reached (Name or service not known)",
            True,
        ),
        (
            wrapped(LOOKUP, FileNotFoundError("https://nowhere.invalid/x")),
            "the server cannot be reached (Name or service not known)",
            True,
        ),
        (wrapped(ConnectionRefusedError(111, "Connection refused"), RuntimeError("x")), "refused)", True),
        (wrapped(TimeoutError(), RuntimeError("x")), "no answer in time", True),
        (StatusError("ClientResponseError(RequestInfo(...))"), "the server answers with HTTP status 503", False),
        (ValueError("Protocol not known: foo\nmore"), "Protocol not known: foo", False),
        (ValueError(""), "ValueError", False),
        (IsADirectoryError(21, "Is a directory", "/x"), "[Errno 21] Is a directory: '/x'", False),
        (PermissionError(13, "Permission denied", "/x"), "[Errno 13] Permission denied: '/x'", False),
    ],
)
def test_why(error, said, off):
    assert why(error).endswith(said)
    assert "\n" not in why(error)
    assert unreachable(error) is off


def test_a_url_whose_server_is_not_there():
    pytest.importorskip("aiohttp")
    with pytest.raises(DsetpackError, match=r"^cannot be read: the server cannot be reached \(.*\)$"):
        source("http://127.0.0.1:9/x.dpk").size()

"""The errors of dsetpack: one root, four causes.

A message names the file, the field, what was found and what was expected. Every class can be pickled, so an error
raised in a worker process reaches the parent whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from dsetpack.formats.model import problems


class DsetpackError(Exception):
    """Root of every error that dsetpack raises on purpose."""


class FormatError(DsetpackError, ValueError):
    """The bytes or the arguments do not follow the format: wrong magic, bad manifest, shapes that do not fit."""


class IntegrityError(DsetpackError):
    """The bytes follow the format but are not the bytes that were written: a digest or a checksum disagrees."""


class VersionError(DsetpackError):
    """The file needs a newer dsetpack: a higher major version, or an encoding or decoder kind unknown here."""


class LimitError(DsetpackError, ValueError):
    """The file declares more bytes than the reader's limits allow."""


@contextmanager
def checked(what: str) -> Iterator[None]:
    """Raise a pydantic error from inside as a FormatError of one line that begins with ``what``."""
    try:
        yield
    except ValidationError as error:
        raise FormatError(f"{what}: {problems(error)}") from error

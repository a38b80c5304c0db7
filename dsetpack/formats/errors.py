"""The errors of dsetpack: one root, four causes; and ``at``, which says where an error happened.

A message names the file, the field, what was found and what was expected. Every class can be pickled, so an error
raised in a worker process reaches the parent intact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from dsetpack.formats.model import printable, problems


class DsetpackError(Exception):
    """The root of every error that dsetpack raises on purpose."""


class FormatError(DsetpackError, ValueError):
    """The bytes or the arguments do not follow the format: wrong magic, bad manifest, shapes that do not fit."""


class IntegrityError(DsetpackError):
    """The bytes follow the format but are not the bytes that were written: a digest or a checksum disagrees."""


class VersionError(DsetpackError):
    """The file needs a newer dsetpack: it has a higher major version, or an unknown encoding or decoder kind."""


class LimitError(DsetpackError, ValueError):
    """The file declares more bytes than the reader's limits allow."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Prefix the message of an error raised inside with its place: ``file: part 2: labels: ...``.

    A ``DsetpackError`` stays the same object. Any other ``ValueError``, including pydantic's, becomes a ``FormatError``
    with a message of one line.

    Args:
        place: a file, a tensor, a field, an argument.
    """
    try:
        yield
    except DsetpackError as error:
        error.args = (f"{place}: {printable(str(error))}",)
        raise
    except ValidationError as error:
        raise FormatError(f"{place}: {problems(error)}") from error
    except ValueError as error:
        raise FormatError(f"{place}: {printable(str(error))}") from error

"""The errors of dsetpack: one root, four causes; and ``at``, which says where an error happened.

A message names the file, the field, what was found and what was expected. Every class can be pickled, so an error
raised in a worker process reaches the parent whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from dsetpack.formats.model import printable, problems


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
def at(place: str) -> Iterator[None]:
    """Put where it happened in front of the message of an error from inside: ``file: part 2: labels: ...``.

    An error of ours stays the same object. A ``ValueError`` of somebody else, pydantic's among them, becomes a
    ``FormatError`` of one line.

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

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
    """The root of every error that dsetpack raises on purpose.

    Attributes:
        placed: whether the message begins with a place; see ``at``.
    """

    placed: bool = False


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
    """Put where it happened in front of the message of an error from inside: ``file: part 2: labels: ...``.

    An error of ours is raised again as a new one of its class. Pydantic's ``ValidationError`` becomes a ``FormatError``
    of one line. Everything else passes: a closed file and a bug are not faults of the place.

    Args:
        place: a file, a tensor, a field, an argument.
    """
    try:
        yield
    except DsetpackError as error:
        raise _placed(error, place).with_traceback(error.__traceback__) from error.__cause__
    except ValidationError as error:
        raise FormatError(f"{printable(place)}: {problems(error)}") from error


def _placed(error: DsetpackError, place: str) -> DsetpackError:
    """A copy of an error, with a place in front of its message; only the innermost message is shortened."""
    text = str(error) if error.placed else printable(str(error))
    copy = type(error).__new__(type(error))
    copy.__dict__.update(error.__dict__)
    copy.args, copy.placed = (f"{printable(place)}: {text}",), True
    return copy

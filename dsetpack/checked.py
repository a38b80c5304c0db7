"""Our error for fields that do not fit a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from dsetpack.formats.errors import FormatError
from dsetpack.formats.model import problems


@contextmanager
def checked(what: str) -> Iterator[None]:
    """Raise a pydantic error from inside as a FormatError of one line that begins with ``what``."""
    try:
        yield
    except ValidationError as error:
        raise FormatError(f"{what}: {problems(error)}") from error

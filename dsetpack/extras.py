"""A clear word where an optional package is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dsetpack.formats.errors import DsetpackError


def need(package: str, extra: str) -> Any:
    """Import an optional package.

    Raises:
        DsetpackError: it is missing; names the extra that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise DsetpackError(
            f"this needs the package {name}, which cannot be imported ({error}): pip install 'dsetpack[{extra}]'"
        ) from error

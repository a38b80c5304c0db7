"""A clear word where a framework is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dsetpack.formats.errors import DsetpackError


def need(module: str, package: str) -> Any:
    """Import a module of a framework.

    Raises:
        DsetpackError: it cannot be imported; names the package that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DsetpackError(
            f"this needs {package}, which cannot be imported ({error}): pip install '{package}'"
        ) from error

"""A clear word where an optional package is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dsetpack.formats.errors import DsetpackError


def need(module: str, extra: str) -> Any:
    """Import a module that an extra of ours brings.

    Raises:
        DsetpackError: it cannot be imported; names the extra.
    """
    return need_package(module, f"dsetpack[{extra}]")


def need_package(module: str, requirement: str) -> Any:
    """Import a module of a package that none of our extras brings.

    Raises:
        DsetpackError: it cannot be imported; says what to install: ``requirement``, as pip takes it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise DsetpackError(
            f"this needs the package {name}, which cannot be imported ({error}): pip install '{requirement}'"
        ) from error

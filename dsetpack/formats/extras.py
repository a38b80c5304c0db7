"""Clear errors for missing optional packages."""

from __future__ import annotations

import importlib
from typing import Any

from dsetpack.formats.errors import DsetpackError


def need(module: str, extra: str) -> Any:
    """Import a module that one of dsetpack's extras installs.

    Raises:
        DsetpackError: if it cannot be imported; the message names the extra.
    """
    return need_package(module, f"dsetpack[{extra}]")


def need_package(module: str, requirement: str) -> Any:
    """Import a module of a package that none of dsetpack's extras installs.

    Raises:
        DsetpackError: if it cannot be imported; the message says what to install: ``requirement``, in pip's syntax.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise DsetpackError(
            f"this needs the package {name}, which cannot be imported ({error}): pip install '{requirement}'"
        ) from error

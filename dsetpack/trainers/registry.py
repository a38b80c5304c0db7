"""Finds settings by the names of the files that define them."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import Any, cast

from dsetpack.formats.errors import FormatError


@cache
def names(package: str) -> tuple[str, ...]:
    """The modules of a package that define ``Settings`` with a name of their own, sorted."""
    folder = importlib.import_module(package).__path__
    found = (module.name for module in pkgutil.iter_modules(folder) if module.name != "base")
    return tuple(sorted(name for name in found if hasattr(_module(package, name), "Settings")))


def settings(package: str, name: str) -> type[Any]:
    """The class ``Settings`` of a module.

    Raises:
        FormatError: there is no such module; names the nearest.
    """
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0)[0]
        what = package.rpartition(".")[2].removesuffix("s")
        raise FormatError(f"no {what} {name!r}; nearest is {near!r}, all are {', '.join(known)}")
    return cast(type[Any], _module(package, name).Settings)


def _module(package: str, name: str) -> Any:
    return importlib.import_module(f"{package}.{name}")

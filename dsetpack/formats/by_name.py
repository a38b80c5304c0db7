"""Find things by the names of the files that define them: kinds, encodings, layouts, networks, objectives, ...

A file in such a folder names what it defines by a module constant, such as ``CONFIG = HabaConfig`` in
``kinds/haba.py``. To add a thing, add a file; nothing else changes. Files without the constant are helpers.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from dsetpack.formats.errors import FormatError

T = TypeVar("T")


@cache
def by_name(package: str, constant: str) -> Mapping[str, Any]:
    """What the files of a package define as ``constant``, by file name, sorted.

    Args:
        package: its full name, such as ``dsetpack.formats.kinds``. All its files are imported; a name that a caller
            asks for is only compared with theirs.
        constant: a name in capitals.
    """
    folder = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(folder))
    modules = {name: importlib.import_module(f"{package}.{name}") for name in names}
    found = {name: getattr(module, constant) for name, module in modules.items() if hasattr(module, constant)}
    return MappingProxyType(found)


def chosen(known: Mapping[str, T], name: str, what: str) -> T:
    """The thing of that name.

    Args:
        known: the things by name.
        name: the name that a caller asks for.
        what: what the message calls such a thing, for example ``network``.

    Raises:
        FormatError: if the name is unknown; the message gives the nearest name and all names.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0)[0]
        raise FormatError(f"no {what} {name!r}; nearest is {near!r}, all are {', '.join(known)}")
    return known[name]

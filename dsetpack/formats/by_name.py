"""Find things by the names of the files that define them: kinds, encodings, layouts, networks, objectives, ...

A file in such a folder names what it defines by a module constant, such as ``CONFIG = HabaConfig`` in
``kinds/haba.py``. To add a thing, add a file. ``base``, files whose
names begin with ``_``, and helpers that the caller names define nothing.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from dsetpack.formats.errors import DsetpackError, FormatError

T = TypeVar("T")


@cache
def by_name(package: str, constant: str, helpers: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """What the files of a package define as ``constant``, by the file's name, sorted.

    Args:
        package: its full name, such as ``dsetpack.formats.kinds``. Its own files are imported; what somebody asks for
            is only compared with their names.
        constant: a name in capitals.
        helpers: files that define nothing of their own; so do ``base`` and files whose names begin with ``_``.

    Raises:
        DsetpackError: if another file does not define the constant.
    """
    folder = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(folder))
    found = {}
    for name in names:
        if name not in ("base", *helpers) and not name.startswith("_"):
            module = importlib.import_module(f"{package}.{name}")
            if not hasattr(module, constant):
                raise DsetpackError(f"{package}.{name} has to define {constant}, by which it is found")
            found[name] = getattr(module, constant)
    return MappingProxyType(found)


def spelled(known: Iterable[str], name: object) -> str | None:
    """The known name that somebody means, or None: case, hyphens and underscores do not count.

    So ``CIFAR10`` and ``cifar-10`` are ``cifar10``, ``FashionMNIST`` is ``fashion-mnist``, ``ResNet18`` is
    ``resnet18``. A name that is known as it is comes first.
    """
    if not isinstance(name, str):
        return None
    names = tuple(known)
    return name if name in names else next((one for one in names if _plain(one) == _plain(name)), None)


def closest(known: Iterable[str], name: object, cutoff: float = 0.0) -> str | None:
    """The known name that is most like a wrong one; None if none is alike enough (``cutoff``, as in ``difflib``)."""
    plain = {_plain(one): one for one in known}
    near = difflib.get_close_matches(_plain(str(name)), plain, 1, cutoff)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def chosen(known: Mapping[str, T], name: object, what: str) -> T:
    """The one of that name, as ``spelled`` finds it.

    Args:
        known: by name.
        name: what somebody asks for.
        what: what these things are, for the message: ``network``.

    Raises:
        FormatError: if there is none of that name; the message names the nearest and all.
    """
    if (found := spelled(known, name)) is not None:
        return known[found]
    near = closest(known, name)
    nearest = f"nearest is {near!r}, all are {', '.join(known)}" if near else "there are none"
    raise FormatError(f"no {what} {name!r}; {nearest}")

"""Decoder kinds as the format sees them: one file a kind, with its configuration and the shapes it implies.

A kind is torch-free here: the model of its ``config`` in the manifest, and the shape of every tensor a part of this
kind must have. The differentiable module that decodes lives in ``dsetpack.decoders`` under the same name. A new kind
is a new file here and one there; nothing else changes.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from dsetpack.formats.errors import VersionError
from dsetpack.formats.kinds.base import KindConfig, TensorShapes

__all__ = ["KindConfig", "TensorShapes", "kind_config", "kind_names"]


@cache
def kind_names() -> tuple[str, ...]:
    """The names of all decoder kinds this version knows, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


def kind_config(name: str) -> type[KindConfig]:
    """The configuration model of a kind.

    Raises:
        VersionError: no such kind here. The name is compared with the files of this package, never imported blindly.
    """
    if name not in kind_names():
        raise VersionError(f"unknown decoder kind {name!r}; this version knows {', '.join(kind_names())}")
    config: type[KindConfig] = importlib.import_module(f"{__name__}.{name}").Config
    return config

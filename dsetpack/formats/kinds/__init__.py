"""Decoder kinds as the format sees them: one file per kind, with its configuration and the shapes it implies.

A file here needs no torch: it defines the model of the kind's ``config`` in the manifest, and the shape of every tensor
that a part of this kind must have. The differentiable module that decodes lives in ``dsetpack.decoders`` under the same
name. To add a kind, add a file here and one there: each is found by its name, and nothing else changes.
"""

from __future__ import annotations

from dsetpack.formats.by_name import by_name
from dsetpack.formats.errors import VersionError
from dsetpack.formats.kinds.base import KindConfig, TensorShapes

__all__ = ["KindConfig", "TensorShapes", "kind_config", "kind_names"]


def kind_names() -> tuple[str, ...]:
    """The names of all decoder kinds that this version knows, sorted."""
    return tuple(by_name(__name__, "CONFIG"))


def kind_config(name: str) -> type[KindConfig]:
    """The configuration model of a kind.

    Raises:
        VersionError: if this version does not know the kind.
    """
    if name not in kind_names():
        raise VersionError(f"unknown decoder kind {name!r}; this version knows {', '.join(kind_names())}")
    config: type[KindConfig] = by_name(__name__, "CONFIG")[name]
    return config

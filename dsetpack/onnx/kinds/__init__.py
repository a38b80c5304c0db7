"""Decoder kinds as ONNX operators, one file each, found by the kind's name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from dsetpack.formats.errors import FormatError
from dsetpack.formats.kinds import KindConfig
from dsetpack.onnx.kinds.base import Bank


@cache
def _names() -> tuple[str, ...]:
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in ("base", "_conv"))
    )


def bank(kind: str, config: KindConfig, image: tuple[int, int, int], classes: int) -> Bank:
    """The bank of a part.

    Raises:
        FormatError: the kind has no ONNX form.
    """
    if kind not in _names():
        raise FormatError(f"kind {kind!r} cannot be exported to ONNX; these can: {', '.join(_names())}")
    made: Bank = importlib.import_module(f"{__name__}.{kind}").Bank(config, image, classes)
    return made

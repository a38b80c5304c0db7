"""A clear word where an optional package is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dsetpack.formats.errors import DsetpackError


def need(name: str) -> Any:
    """Import ``onnx`` or ``onnxruntime``.

    Raises:
        DsetpackError: it is missing; names the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DsetpackError(
            f"this needs the package {name}, which cannot be imported ({error}): install 'dsetpack[onnx]', or "
            "'dsetpack[onnx-gpu]' for CUDA; not both, because onnxruntime and onnxruntime-gpu overwrite each other"
        ) from error

"""What an encoding must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsetpack.formats.model import Model

Array = NDArray[Any]
Resolve = Callable[[str], Array]
"""Reads another tensor of the same file by name (block scales live in tensors of their own)."""


class ArrayCodec(Model, ABC):
    """array -> array. Shapes stay; the dtype may change."""

    name: ClassVar[str]

    @abstractmethod
    def stored_dtype(self, dtype: str) -> str:
        """The dtype after encoding values of ``dtype``. ValueError where the encoding does not take that dtype."""

    @abstractmethod
    def encode(self, values: Array, name: str) -> tuple[Array, ArrayCodec, dict[str, Array]]:
        """Encode the tensor called ``name``: stored array, the codec with all it chose, and side tensors by name."""

    @abstractmethod
    def decode(self, stored: Array, dtype: np.dtype[Any], resolve: Resolve) -> Array:
        """Undo ``encode``."""

    def needs(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:  # noqa: ARG002
        """Names and shapes of the float32 side tensors that decoding a tensor of ``shape`` reads."""
        return {}


class ByteCodec(Model, ABC):
    """bytes -> bytes."""

    name: ClassVar[str]

    @abstractmethod
    def encode(self, data: bytes) -> bytes:
        """Encode one chunk."""

    @abstractmethod
    def decode(self, data: bytes, size: int) -> bytes:
        """Undo ``encode``; the result must have ``size`` bytes, checked before memory is taken.

        Raises:
            FormatError: the data cannot decode to exactly ``size`` bytes.
        """

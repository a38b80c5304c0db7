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
    """An encoding array -> array. It keeps the shape; the dtype may change."""

    name: ClassVar[str]

    @abstractmethod
    def stored_dtype(self, dtype: str) -> str:
        """The dtype after encoding values of ``dtype``.

        Raises:
            FormatError: if the encoding does not take that dtype.
        """

    @abstractmethod
    def encode(self, values: Array, name: str) -> tuple[Array, ArrayCodec, dict[str, Array]]:
        """Encode the tensor ``name``: return the stored array, the codec with its choices, and side tensors by name."""

    @abstractmethod
    def decode(self, stored: Array, dtype: np.dtype[Any], resolve: Resolve) -> Array:
        """Undo ``encode``."""

    def needs(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:  # noqa: ARG002
        """Names and shapes of the float32 side tensors that decoding a tensor of ``shape`` reads."""
        return {}


class ByteCodec(Model, ABC):
    """An encoding bytes -> bytes."""

    name: ClassVar[str]

    @abstractmethod
    def encode(self, data: bytes) -> bytes:
        """Encode one chunk."""

    @abstractmethod
    def decode(self, data: bytes, size: int) -> bytes:
        """Undo ``encode``; the result must have ``size`` bytes, which is checked before memory is allocated.

        Raises:
            FormatError: if the data cannot decode to exactly ``size`` bytes.
        """

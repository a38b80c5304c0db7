"""What every decoder kind states about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from dsetpack.formats.model import Model

TensorShapes = dict[str, tuple[int, ...]]


class KindConfig(Model, ABC):
    """The configuration of one decoder kind, as stored in a part's ``config``.

    Class attributes:
        yields: the values that the decoder returns: ``space`` (already in the pack's space) or ``raw`` (in [0, 1]; the
            runtime then applies the pack's space, because a sigmoid or tanh fixes the range).
        has_sources: False where sources are drawn, not stored (``generator``).
    """

    yields: ClassVar[Literal["space", "raw"]] = "space"
    has_sources: ClassVar[bool] = True

    @abstractmethod
    def bank_size(self) -> int:
        """How many decoders the bank holds: each source can be decoded this many ways."""

    @abstractmethod
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        """Shape of one source for images (C, H, W); for a generator, of one noise vector."""

    @abstractmethod
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        """Shape of every bank tensor by role, for images (C, H, W). Empty where there is nothing to learn.

        Raises:
            ValueError: the configuration cannot make images of this shape; the message says why.
        """

    def prepared_floats(self, image: tuple[int, int, int]) -> int:  # noqa: ARG002
        """How many float32 decoders compute from their settings and their bank before they make an image."""
        return 0

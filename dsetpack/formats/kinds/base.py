"""What every decoder kind states about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from dsetpack.formats.model import Model

TensorShapes = dict[str, tuple[int, ...]]


class KindConfig(Model, ABC):
    """The configuration of one decoder kind, as stored in a part's ``config``.

    Class attributes:
        yields: the kind of values that the decoder returns: ``space`` (already in the pack's space) or ``raw`` (in
            [0, 1], because a sigmoid or tanh fixes the range; the runtime then applies the pack's space).
        has_sources: False if sources are drawn instead of stored (``generator``).
    """

    yields: ClassVar[Literal["space", "raw"]] = "space"
    has_sources: ClassVar[bool] = True

    @abstractmethod
    def bank_size(self) -> int:
        """The number of decoders in the bank: each source can be decoded in this many ways."""

    @abstractmethod
    def source_shape(self, image: tuple[int, int, int]) -> tuple[int, ...]:
        """The shape of one source for images (C, H, W); for a generator, the shape of one noise vector."""

    @abstractmethod
    def bank_shapes(self, image: tuple[int, int, int], classes: int) -> TensorShapes:
        """The shape of every bank tensor by role, for images (C, H, W). Empty if there is nothing to learn.

        Raises:
            FormatError: if the configuration cannot make images of this shape; the message says why.
        """

    def prepared_floats(self, image: tuple[int, int, int]) -> int:  # noqa: ARG002
        """The number of float32 values that decoders compute from their settings and bank before they make an image."""
        return 0

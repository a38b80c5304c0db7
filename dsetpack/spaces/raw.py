"""``raw``: the identity."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dsetpack.formats.card import RawSpace
from dsetpack.spaces.base import Space, SpaceModel, images


class Raw(Space):
    """Pixel values in [0, 1], as they are."""

    @property
    def model(self) -> RawSpace:
        return RawSpace()

    @classmethod
    def from_card(cls, model: SpaceModel, tensors: Mapping[str, Tensor]) -> Raw:  # noqa: ARG003
        return cls()

    def apply(self, x: Tensor) -> Tensor:
        return images(x)

    def invert(self, x: Tensor) -> Tensor:
        return images(x)

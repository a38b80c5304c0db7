"""``raw``: the identity."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from typing_extensions import override

from dsetpack.formats.card import RawSpace
from dsetpack.spaces.base import Space, SpaceModel, float_images


class Raw(Space):
    """Pixel values in [0, 1], as they are."""

    @property
    @override
    def model(self) -> RawSpace:
        return RawSpace()

    @classmethod
    @override
    def from_card(cls, model: SpaceModel, tensors: Mapping[str, Tensor]) -> Raw:
        return cls()

    @override
    def apply(self, x: Tensor) -> Tensor:
        return float_images(x)

    @override
    def invert(self, x: Tensor) -> Tensor:
        return float_images(x)

"""What every pixel space can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from dsetpack.formats.card import NormalizedSpace, RawSpace, ZcaSpace
from dsetpack.formats.errors import FormatError

SpaceModel = RawSpace | NormalizedSpace | ZcaSpace


class Space(ABC):
    """A pixel space. Immutable: ``to`` returns another one. Both directions are differentiable and keep the shape.

    Images are float [N, C, H, W]; float64 stays float64, everything else is computed and returned in float32.
    """

    @property
    @abstractmethod
    def model(self) -> SpaceModel:
        """What the card says of this space."""

    @classmethod
    @abstractmethod
    def from_card(cls, model: SpaceModel, tensors: Mapping[str, Tensor]) -> Space:
        """The space that ``model`` describes; ``tensors`` holds what it names."""

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Raw images in [0, 1] into this space. Map real test images through it before a trained network sees them."""

    @abstractmethod
    def invert(self, x: Tensor) -> Tensor:
        """Images of this space back to raw values. Not clipped: learned images may lie outside [0, 1]."""

    def to(self, device: torch.device | str) -> Space:  # noqa: ARG002
        """The same space with its tensors on a device."""
        return self

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that belong into the pack's file, by the names the model gives them."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def as_space(value: object) -> Space:
    """``value``, checked to be a space.

    Raises:
        FormatError: it is something else, such as the name of one.
    """
    if not isinstance(value, Space):
        raise FormatError(f"space is {value!r}; expected a dsetpack.spaces.Space, such as Normalized.fit(images)")
    return value


def same_space(first: SpaceModel, second: SpaceModel) -> bool:
    """Whether images mean the same in both, however they are stored."""
    storage = {"storage", "mean", "matrix", "spectrum"} if isinstance(first, ZcaSpace) else set()
    return first.model_dump(exclude=storage) == second.model_dump(exclude=storage)


def float_images(x: Tensor) -> Tensor:
    """The images ``x``, checked to be float [N, C, H, W], as float32 or float64.

    Raises:
        FormatError: no tensor, not four axes, or integers (divide uint8 images by 255 first).
    """
    if not isinstance(x, Tensor):
        raise FormatError(f"images are {type(x).__name__}; a torch tensor is expected: torch.from_numpy(images)")
    if x.ndim != 4:
        raise FormatError(f"images have shape {list(x.shape)}; expected [N, C, H, W]")
    if not x.is_floating_point():
        raise FormatError(f"images are {x.dtype}; expected floats in [0, 1]: divide uint8 images by 255")
    return x if x.dtype == torch.float64 else x.float()

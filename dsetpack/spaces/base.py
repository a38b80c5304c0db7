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
        """Map raw images in [0, 1] into this space, as real test images must be before a trained network sees them."""

    @abstractmethod
    def invert(self, x: Tensor) -> Tensor:
        """Map images of this space back to raw values. They are not clipped: learned images may lie outside [0, 1]."""

    def to(self, device: torch.device | str) -> Space:  # noqa: ARG002
        """The same space with its tensors on a device."""
        return self

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that belong in the pack's file, by the names that the model gives them."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def as_space(value: object) -> Space:
    """Check that ``value`` is a space and return it.

    Raises:
        FormatError: if it is something else, such as the name of a space.
    """
    if not isinstance(value, Space):
        raise FormatError(f"space is {value!r}; expected a dsetpack.spaces.Space, such as Normalized.fit(images)")
    return value


def same_space(first: SpaceModel, second: SpaceModel) -> bool:
    """Whether images mean the same in both spaces, however these are stored."""
    storage = {"storage", "mean", "matrix", "spectrum"} if isinstance(first, ZcaSpace) else set()
    return first.model_dump(exclude=storage) == second.model_dump(exclude=storage)


def float_images(x: Tensor) -> Tensor:
    """Check that ``x`` are float images [N, C, H, W] and return them as float32 or float64.

    Raises:
        FormatError: if ``x`` is not a tensor, does not have four axes, or holds integers (divide uint8 images by 255).
    """
    if not isinstance(x, Tensor):
        raise FormatError(f"images are {type(x).__name__}; a torch tensor is expected: torch.from_numpy(images)")
    if x.ndim != 4:
        raise FormatError(f"images have shape {list(x.shape)}; expected [N, C, H, W]")
    if not x.is_floating_point():
        raise FormatError(f"images are {x.dtype}; expected floats in [0, 1]: divide uint8 images by 255")
    return x if x.dtype == torch.float64 else x.float()

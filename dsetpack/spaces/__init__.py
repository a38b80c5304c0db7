"""Pixel spaces: what the values of a pack's images mean, and how raw images in [0, 1] are mapped there and back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dsetpack.spaces.base import Space, SpaceModel, as_space, same_space
from dsetpack.spaces.images import data_digest
from dsetpack.spaces.normalized import Normalized
from dsetpack.spaces.raw import Raw
from dsetpack.spaces.zca import Zca

__all__ = [
    "Normalized",
    "Raw",
    "Space",
    "SpaceModel",
    "Zca",
    "as_space",
    "data_digest",
    "same_space",
    "space_from_card",
]

_SPACES: dict[str, type[Space]] = {"raw": Raw, "normalized": Normalized, "zca": Zca}


def space_from_card(model: SpaceModel, tensors: Mapping[str, Tensor] | None = None) -> Space:
    """The space that a card describes.

    Args:
        model: ``card.space``.
        tensors: the pack's tensors by name; an embedded ZCA reads the two that the model names.

    Raises:
        FormatError: if a tensor that the model names is missing or has a wrong shape or dtype.
    """
    return _SPACES[model.kind].from_card(model, tensors or {})
